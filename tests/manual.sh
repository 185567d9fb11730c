#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Manual pages and completions say what --help says: every option is in each, the pages have no errors, and the shells that
# are installed really complete. Usage: manual.sh FOLDER_WITH_THEM PROGRAM...
set -u
folder=$(realpath "$1"); shift
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
export HOME=$work LC_ALL=C.UTF-8 TERM=dumb
failed=0
complain() { printf 'FAIL: %.300s\n' "$1"; failed=1; }
have() { command -v "$1" > /dev/null || { echo "not tried: there is no $1"; return 1; }; }

# Without what hyphenation does to it.
page_text() { man -E UTF-8 -P cat --no-hyphenation --no-justification -l "$1"; }

page() {
    local file=$folder/$1.1
    [ -f "$file" ] || { echo "not tried: no manual pages were built"; return; }
    if have mandoc; then
        # An option that is told twice, a page that is not there: scdoc's macros bring warnings of their own.
        mandoc -T lint -W error "$file" > "$work/lint" || complain "$file: $(head -3 "$work/lint")"
    fi
    have man || return
    man --warnings -E UTF-8 -l -Tutf8 -Z "$file" 2> "$work/warnings" > /dev/null
    [ ! -s "$work/warnings" ] || complain "$file: $(head -3 "$work/warnings")"
    page_text "$file" > "$work/text"
    grep -q '@' "$work/text" && grep -qE '@[A-Z]+@' "$work/text" && complain "$file: a mark was not filled in"
    for option in "${options[@]}"; do
        grep -qE -- "(^ +|, )$option( |\$)" "$work/text" || complain "$file: no $option"
    done
    if page_text "$file" | grep -q -- --dump-options; then complain "$file tells of --dump-options"; fi
}

# try SHELL WANTED GOT
try() { [ "$3" = "$2" ] || complain "$1: \"$3\", not \"$2\""; }

in_bash() {
    local script=/usr/share/bash-completion/bash_completion
    [ -f $script ] || { echo "not tried: there is no bash-completion"; return; }
    bash --norc -c 'source $1; source "$2"; line=$3
        COMP_LINE=$line COMP_POINT=${#line} COMP_TYPE=9 COMP_KEY=9
        read -ra COMP_WORDS <<< "$line"; [[ $line != *" " ]] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
        $(complete -p "${COMP_WORDS[0]}" | sed "s/.*-F \([^ ]*\) .*/\1/") 2> /dev/null
        echo "${COMPREPLY[*]}"' bash $script "$folder/${1%% *}" "$1"
}

in_fish() { fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$folder/${1%% *}.fish" "$1" | cut -f1 | sort | paste -sd" "; }

# Types the line and a tab, then has it printed.
in_zsh() {
    mkdir -p "$work/zsh"
    cp "$folder/_${1%% *}" "$work/zsh"
    zsh -f -c 'zmodload zsh/zpty; zpty z zsh -f -i
        zpty -w z "fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; PS1=; unsetopt zle_bracketed_paste; stty -echo"
        zpty -w z "print rea\"\"dy"; while zpty -r z line && [[ $line != *ready* ]]; do :; done
        zpty -w -n z "$2"$'"'\\t\\C-aprint -r -- got: \\C-e :end\\n'"'
        while zpty -r z line && [[ $line != got:*:end* ]]; do :; done
        print -r -- "$line"; zpty -d z' zsh "$work/zsh" "$1" | tr -d '\r' | sed 's/^got: //; s/ *:end.*//'
}

for program; do
    name=$(basename "$program")
    mapfile -t options < <("$program" --help | grep -oE '^ +(-[A-Za-z], )? *--[a-z-]+' | grep -oE -- '--[a-z-]+')
    [ ${#options[@]} -gt 7 ] || complain "$name: only ${#options[@]} options"
    "$program" --help | grep -q -- --dump-options && complain "$name --help tells of --dump-options"
    page "$name"
    for option in "${options[@]}"; do
        grep -qE -- " '?${option}[ ']" "$folder/$name" || complain "bash: $name: no $option"
        grep -qE -- "[',]$option" "$folder/_$name" || complain "zsh: $name: no $option"
        grep -qE -- " -l ${option#--} " "$folder/$name.fish" || complain "fish: $name: no $option"
    done
    try bash "--version" "$(in_bash "$name --versi")"
    try bash "text" "$(in_bash "$name --log-format t")"
    if have fish; then
        try fish "--version" "$(in_fish "$name --versi")"
        try fish "json text" "$(in_fish "$name --log-format ")"
    fi
    if have zsh; then try zsh "$name --version" "$(in_zsh "$name --versi")"; fi
done
exit $failed

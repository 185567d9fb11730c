# SPDX-License-Identifier: Apache-2.0
# Manual pages and completions from what `PROGRAM --dump-options` prints.
#   awk -v form=man -v version=V -v common=FILE -f options.awk DUMP PAGE.scd
#                                                   the page, its @USAGE@, @OPTIONS@, @COMMON@ and @VERSION@ filled in
#   awk -v form=bash|zsh|fish -f options.awk DUMP    completions
BEGIN { FS = "\t" }
$1 == "program" && FNR == 1 { name = $2; summary = $3; usage = $4; commands = $5; next }
$1 == "option" && FNR == NR {
    n++
    long[n] = $2; letter[n] = $3; value[n] = $4; help[n] = $5; range[n] = $6; choices[n] = $7
    next
}
form == "man" { page() }
END {
    if (!n) { print "options.awk: no options" > "/dev/stderr"; exit 1 }
    if (form == "bash") bash()
    if (form == "zsh") zsh()
    if (form == "fish") fish()
}

# What its value completes to.
function wants(i)
{
    if (choices[i] != "") return "choice"
    if (value[i] == "") return "flag"
    if (value[i] == "FILE" || value[i] == "OUT") return "file"
    if (value[i] == "DIR" || value[i] == "D") return "folder"
    return "text"
}

# ---- scdoc

function plain(text) { gsub(/[\\_*]/, "\\\\&", text); return text }

function page(  i, line)
{
    gsub(/@VERSION@/, version)
    if ($0 == "@USAGE@") {
        synopsis()
        return
    }
    if ($0 == "@COMMON@") {
        while ((getline line < common) > 0)
            print line
        return
    }
    if ($0 != "@OPTIONS@") {
        print
        return
    }
    for (i = 1; i <= n; i++) {
        printf "%s*--%s*%s\n", letter[i] == "" ? "" : "*-" letter[i] "*, ", long[i], value[i] == "" ? "" : " _" plain(value[i]) "_"
        printf "\t%s%s\n\n", plain(help[i]), range[i] == "" ? "" : "; " range[i]
    }
}

# Alternatives are divided by " | ", and each is a line.
function synopsis(  lines, i, count)
{
    count = split(usage, lines, / [|] /)
    for (i = 1; i <= count; i++)
        printf "*%s* %s%s\n", name, plain(lines[i]), i < count ? "++" : ""
}

# ---- bash: with the functions of bash-completion

function bash(  i, kind, all, options, names)
{
    names = name
    gsub(/-/, "_", names)
    printf "# %s for bash, made from its table of options\n_%s()\n{\n", name, names
    print "    local cur prev words cword split    # shellcheck disable=SC2034\n    _init_completion -s || return\n    case $prev in"
    for (i = 1; i <= n; i++) {
        kind = wants(i)
        options = options (i > 1 ? " " : "") "--" long[i] (letter[i] == "" ? "" : " -" letter[i])
        if (kind == "flag") continue
        printf "    --%s%s) ", long[i], letter[i] == "" ? "" : " | -" letter[i]
        if (kind == "choice") printf "mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\"); ", choices[i]
        if (kind == "file") printf "_filedir; "
        if (kind == "folder") printf "_filedir -d; "
        print "return ;;"
    }
    print "    esac\n    $split && return\n    if [[ $cur == -* ]]; then"
    printf "        mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\")\n", options
    if (commands != "") {
        print "    elif [ \"$cword\" -eq 1 ]; then"
        printf "        mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\")\n    else\n        _filedir\n", commands
    }
    printf "    fi\n}\ncomplete -F _%s %s\n", names, name
}

# ---- zsh

function quoted(text) { gsub(/'/, "'\\''", text); return text }
function described(text) { gsub(/[][\\:]/, "\\\\&", text); return quoted(text) }

function zsh(  i, kind)
{
    printf "#compdef %s\n# made from its table of options\n_arguments -s -S", name
    for (i = 1; i <= n; i++) {
        kind = wants(i)
        if (letter[i] == "")
            printf " \\\n    '--%s%s", long[i], kind == "flag" ? "" : "="
        else
            printf " \\\n    '(-%s --%s)'{-%s%s,--%s%s}'", letter[i], long[i], letter[i], kind == "flag" ? "" : "+", long[i], kind == "flag" ? "" : "="
        printf "[%s]", described(help[i])
        if (kind != "flag") printf ":%s:", described(value[i])
        if (kind == "choice") printf "(%s)", choices[i]
        if (kind == "file") printf "_files"
        if (kind == "folder") printf "_files -/"
        printf "'"
    }
    if (commands != "") printf " \\\n    '1:command:(%s)' '*:file:_files'", commands
    print ""
}

# ---- fish

function fish_quoted(text) { gsub(/[\\']/, "\\\\&", text); return text }

function fish(  i, kind)
{
    printf "# %s for fish, made from its table of options\n", name
    if (commands == "")
        printf "complete -c %s -f\n", name
    else
        printf "complete -c %s -n __fish_use_subcommand -f -a '%s'\n", name, commands
    for (i = 1; i <= n; i++) {
        kind = wants(i)
        printf "complete -c %s -l %s%s", name, long[i], letter[i] == "" ? "" : " -s " letter[i]
        if (kind == "choice") printf " -x -a '%s'", choices[i]
        if (kind == "text") printf " -x"
        if (kind == "file") printf " -r -F"
        if (kind == "folder") printf " -x -a '(__fish_complete_directories)'"
        printf " -d '%s'\n", fish_quoted(help[i])
    }
}

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# reference.sh HEADERS SOURCE OUT: the API reference as HTML in OUT/html, from the headers as they are installed and
# doc/library.md. Anything that doxygen warns of is an error: what is public and undocumented, too.
set -eu
headers=$1 source=$2 out=$3
command -v doxygen > /dev/null || { echo "reference.sh: doxygen is not installed" >&2; exit 77; }
mkdir -p "$out"
# Comments in the headers are plain: the first line becomes @file, those in front of a thing its text, those behind it, too.
# Neighbours in one declaration share theirs: each gets a line.
cat > "$out/filter.awk" <<'FILTER'
FNR == 1                                { print "/// @file"; next }
match($0, /^ *\/\/ /)                   { print substr($0, 1, RLENGTH - 1) (RLENGTH > 12 ? "/< " : "/ ") substr($0, RLENGTH + 1); next }
/^ +[a-z][^()]*, [^()]*; +\/\/ /        { split($0, half, / +\/\/ /); n = split(half[1], name, /, |;/); type = name[1]; sub(/[a-z_0-9\[\]A-Z]+$/, "", type)
                                          for (i = 1; i < n; i++) print (i > 1 ? type : "") name[i] "; ///< " half[2]; next }
match($0, /[^ ] +\/\/ /)                { print substr($0, 1, RSTART) " ///< " substr($0, RSTART + RLENGTH); next }
                                        { print }
FILTER
doxygen - <<CONFIG
PROJECT_NAME           = libzoetrope
PROJECT_NUMBER         = $(sed -n 's/^#define ZT_VERSION "\(.*\)"/\1/p' "$headers/version.h")
INPUT                  = $source/doc/library.md $(cd "$headers" && printf "$headers/%s " *.h)
USE_MDFILE_AS_MAINPAGE = $source/doc/library.md
FILTER_PATTERNS           = *.h="awk -f $out/filter.awk"
OUTPUT_DIRECTORY       = $out
OPTIMIZE_OUTPUT_FOR_C  = YES
TYPEDEF_HIDES_STRUCT   = YES
MULTILINE_CPP_IS_BRIEF = NO
JAVADOC_AUTOBRIEF      = YES
SORT_MEMBER_DOCS       = NO
SHOW_INCLUDE_FILES     = NO
STRIP_FROM_PATH        = $headers
EXAMPLE_PATH           = $source/examples
ENABLE_PREPROCESSING   = YES
GENERATE_LATEX         = NO
HAVE_DOT               = NO
QUIET                  = YES
WARN_AS_ERROR          = FAIL_ON_WARNINGS
CONFIG

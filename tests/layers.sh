#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks what the compiler cannot: includes point down only, config.h and HAVE_ stay in list files, base/ stays small,
# no machine paths, no tabs or trailing blanks, functions stay short.
set -u
cd "${1:-$(dirname "$0")/..}" || exit 2
failed=0
complain() { printf '%s\n' "$1" >&2; failed=1; }

# layer: the folders that it may include
allowed() {
    case $1 in
        base)      echo "base" ;;
        kernels)   echo "base kernels" ;;
        diffusion) echo "base kernels diffusion" ;;
        engine)    echo "base kernels diffusion engine" ;;
        stream)    echo "base stream" ;;
        apps)      echo "base kernels diffusion engine stream apps" ;;
    esac
}
for layer in base kernels diffusion engine stream apps; do
    while IFS=: read -r file _ include; do
        to=${include#*\"}; to=${to%%/*}
        case $include in *\"config.h\"*) continue ;; esac
        case $include in *\"*/*\"*) ;; *) complain "$file: include from the root: $include"; continue ;; esac
        case " $(allowed $layer) " in *" $to "*) ;; *) complain "$file: $layer must not include $to: $include" ;; esac
    done < <(grep -rnE '^ *# *include +"' --include='*.c' --include='*.h' --include='*.cu' --include='*.cuh' "$layer")
done

# Files that list what is built in; nothing else asks HAVE_ or reads config.h.
lists='^(kernels/table\.c|kernels/device\.c|stream/encoders\.c|stream/transports\.c|apps/paths\.c|apps/peers\.c|apps/servers\.c)$'
while read -r file; do
    [[ $file =~ $lists ]] || complain "$file: HAVE_ or config.h outside the list files"
done < <(grep -rlE '# *if.*\bHAVE_[A-Z]|"config\.h"' --include='*.c' --include='*.h' base kernels diffusion engine stream apps)

n=$(find base -name '*.c' | wc -l)
[ "$n" -le 8 ] || complain "base/: $n files, 8 at most"

mapfile -t sources < <(git ls-files '*.c' '*.h' '*.cu' '*.cuh' '*.py' '*.sh' 2>/dev/null)
[ ${#sources[@]} -gt 0 ] ||         # not a checkout, or another user's
    mapfile -t sources < <(find base kernels diffusion engine stream apps tests tools -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.py' -o -name '*.sh')
for file in "${sources[@]}"; do
    [ -f "$file" ] || continue
    grep -qP '\t' "$file" && complain "$file: a tab"
    grep -qE ' +$' "$file" && complain "$file: blanks at a line's end"
    head -n 2 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || complain "$file: no SPDX line"
    lines=$(wc -l < "$file")
    [ "$lines" -le 600 ] || complain "$file: $lines lines, 600 at most"
done

# A function ends at a closing brace in the first column.
for file in "${sources[@]}"; do
    case $file in *.c | *.h | *.cu) ;; *) continue ;; esac
    [ -f "$file" ] || continue
    awk -v limit=60 '/^{/ || /^[a-z].*\) *{$/ { start = FNR }
        /^}/ && start { if (FNR - start > limit) { print FILENAME ":" start ": function of " FNR - start " lines"; bad = 1 } start = 0 }
        END { exit bad }' "$file" >&2 || failed=1
done

exit $failed

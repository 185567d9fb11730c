#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks what the compiler cannot: includes point down only, config.h and HAVE_ stay in list files, base/ stays small,
# no tabs or trailing blanks, files and functions stay short.
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
        lib)       echo "base kernels diffusion engine apps" ;;
        apps)      echo "base kernels diffusion engine stream apps" ;;
    esac
}
for layer in base kernels diffusion engine lib stream apps; do
    while IFS=: read -r file _ include; do
        to=${include#*\"}; to=${to%%/*}
        case $include in *\"config.h\"*) continue ;; esac
        case $include in *\"*/*\"*) ;; *) complain "$file: include from the root: $include"; continue ;; esac
        case " $(allowed $layer) " in *" $to "*) ;; *) complain "$file: $layer must not include $to: $include" ;; esac
    done < <(grep -rnE '^ *# *include +"' --include='*.c' --include='*.h' --include='*.cu' --include='*.cuh' "$layer")
done

# Files that list what is built in; nothing else asks HAVE_ or reads config.h.
lists='^(kernels/table\.c|kernels/device\.c|stream/encoders\.c|stream/transports\.c|apps/paths\.c|apps/peers\.c|apps/serve/servers\.c)$'
while read -r file; do
    [[ $file =~ $lists ]] || complain "$file: HAVE_ or config.h outside the list files"
done < <(grep -rlE '# *if.*\bHAVE_[A-Z]|"config\.h"' --include='*.c' --include='*.h' base kernels diffusion engine lib stream apps)

n=$(find base -name '*.c' | wc -l)
[ "$n" -le 8 ] || complain "base/: $n files, 8 at most"

mapfile -t sources < <(git ls-files '*.c' '*.h' '*.cu' '*.cuh' '*.py' '*.sh' 2>/dev/null)
[ ${#sources[@]} -gt 0 ] ||         # not a checkout, or another user's
    mapfile -t sources < <(find base kernels diffusion engine lib stream apps examples tests tools -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.py' -o -name '*.sh')
present=()
for file in "${sources[@]}"; do [ ! -f "$file" ] || present+=("$file"); done
each() { while read -r file; do complain "$file: $1"; done; }
each 'a tab' < <(grep -lP '\t' "${present[@]}")
each "blanks at a line's end" < <(grep -lE ' +$' "${present[@]}")
each 'no SPDX line' < <(awk 'FNR == 1 { found = 0 } FNR <= 2 && /SPDX-License-Identifier: Apache-2.0/ { found = 1 }
                             FNR == 2 && !found { print FILENAME }' "${present[@]}")

# A function ends at a closing brace in the first column.
awk -v lines=600 -v limit=60 '
    function bad(what) { print FILENAME ":" FNR ": " what; failed = 1 }
    FNR == 1 { start = 0 }
    FNR == lines + 1 { bad("more than " lines " lines") }
    FILENAME !~ /\.(c|h|cu|cuh)$/ { next }
    /^{/ || /^[a-z].*\) *{$/ { start = FNR }
    /^}/ && start { if (FNR - start > limit) bad("function of " FNR - start " lines"); start = 0 }
    END { exit failed }' "${present[@]}" >&2 || failed=1

exit $failed

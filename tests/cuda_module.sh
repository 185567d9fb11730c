#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# libzt_cuda.so needs nothing but libc, gives one symbol, holds code for every kind of GPU we name, and a machine without a GPU
# is told so in one line: cuda_module.sh MODULE RENDER
set -u
module=$1 render=$2
failed=0
complain() { printf '%s\n' "$1" >&2; failed=1; }

readelf -d "$module" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | while read -r need; do
    case $need in
        libc.so.*|libm.so.*|libdl.so.*|libpthread.so.*|librt.so.*|ld-linux*) ;;
        *) echo "$need" ;;
    esac
done > /tmp/need.$$
[ ! -s /tmp/need.$$ ] || complain "the module needs $(tr '\n' ' ' < /tmp/need.$$)"
rm -f /tmp/need.$$
symbols=$(readelf --dyn-syms -W "$module" | awk '$7 != "UND" && $5 == "GLOBAL" && $4 == "FUNC" { print $8 }')
[ "$symbols" = zt_backend_get ] || complain "the module gives: $symbols"
for kind in sm_80 sm_89 sm_90a; do
    LC_ALL=C grep -q -a "$kind" "$module" || complain "no code for $kind"
done

# Without a GPU, without a module, with something that is none: a line each, 69; auto goes on.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/none" "$dir/bad"
echo 'no ELF' > "$dir/bad/libzt_cuda.so"
said() {        # modules, what the line says
    ZOETROPE_MODULES=$1 "$render" --device cuda -p sea -o "$dir/out.y4m" 2> "$dir/err"
    [ $? = 69 ] || complain "--device cuda with $1: not 69"
    [ "$(wc -l < "$dir/err")" = 1 ] && grep -q "$2" "$dir/err" || complain "--device cuda with $1 says: $(cat "$dir/err")"
}
said "$dir/none" "libzt_cuda.so is not installed in $dir/none"
said "$dir/bad" 'libzt_cuda.so'
[ -e /dev/nvidiactl ] || said "$(dirname "$module")" 'device cuda: no CUDA device'
ZOETROPE_MODULES=$dir/none "$render" -v -p sea -n 1 -o "$dir/out.y4m" 2> "$dir/err" || complain "auto without a module: $(cat "$dir/err")"
[ "$(grep -c 'device auto: the CPU; no GPU: ' "$dir/err")" = 1 ] || complain "auto without a module says: $(cat "$dir/err")"
exit $failed

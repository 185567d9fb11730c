#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fails if an inner loop of a kernel keeps vector registers in memory: gcc 12 spills the sums of a tile when it schedules
# their products itself, which halves its speed.
#   spills.sh LIBRARY...    static libraries of kernels
# A loop counts if it holds no other and at least 8 products; of it no instruction on a vector register may touch the
# stack, except to broadcast one element.
set -u

# Functions that must have such a loop, by library: those whose time is products. Compilers may add a suffix.
declare -A hot=(
    [ztkernels_avx2]='zt_multiply_avx2 conv_f32_4 conv_f32_6 conv_bf16_2 conv_bf16_4 conv_bf16_6'
    [ztkernels_vnni]='multiply'
    [ztkernels_avx512]='multiply_i8 multiply_bf16 multiply_f32
        attend_f32_4 attend_f32_8 attend_f32_12 attend_bf16_4 attend_bf16_8 attend_bf16_12
        conv_f32_4 conv_f32_8 conv_f32_12 conv_bf16_4 conv_bf16_8 conv_bf16_12'
)

command -v objdump > /dev/null || { echo "no objdump (binutils)"; exit 77; }
[ $# -gt 0 ] || { echo "usage: spills.sh LIBRARY..." >&2; exit 2; }
failed=0

for library in "$@"; do
    name=$(basename "$library" .a); name=${name#lib}
    for function in ${hot[$name]:-}; do
        objdump -d --no-show-raw-insn "$library" | awk -v f="$function" '
            /^[0-9a-f]+ <.*>:$/ { inside = 0 }
            $0 ~ "^[0-9a-f]+ <" f "([.][a-z0-9.]+)?>:$" { inside = 1; seen = 1; next }
            inside && /^ *[0-9a-f]+:/ {
                at = $1; sub(":", "", at)
                text[n] = $0; index_of[at] = n
                if ($2 ~ /^j/ && ($3 in index_of)) {            # backward: a loop from there to here
                    first[loops] = index_of[$3]; last[loops] = n; loops++
                }
                n++
            }
            function look(from, to,    i, products, bad) {
                for (i = from; i <= to; i++) {
                    if (text[i] ~ /vpdpbusd|vdpbf16ps|vfn?madd[0-9]+ps|vpmaddwd|vpmaddubsw/) products++
                    if (text[i] ~ /%[yz]mm/ && text[i] ~ /\(%r[sb]p/ && text[i] !~ /1to(8|16)|vp?broadcast/) bad = bad text[i] "\n"
                }
                if (products < 8) return
                good++
                if (bad) { printf "%s: a loop of %d products uses the stack:\n%s", f, products, bad; spills = 1 }
            }
            END {
                if (!seen) { print f ": there is no such function"; exit 1 }
                for (l = 0; l < loops; l++) {
                    inner = 1
                    for (k = 0; k < loops; k++) inner = inner && (k == l || first[k] < first[l] || last[k] > last[l])
                    if (inner) look(first[l], last[l])
                }
                if (!good) { print f ": no loop of products was found in it"; exit 1 }
                exit spills
            }' >&2 || { echo "$library: $function" >&2; failed=1; }
    done
done
exit $failed

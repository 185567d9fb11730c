#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The check of the CUDA kernels is checked: each of these faults, put into a copy of a kernel, must make checkcuda fail.
#   cuda_mutants.sh SOURCE BUILD
set -u
source=$1 build=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
mkdir -p "$dir/kernels"
objects=$(find "$build/tests/checkcuda.p" "$build/tests/libcuda_on_host.a.p" -name '*.o')
libs=$(find "$build/kernels" "$build/base" -name 'lib*.a')

mutant() {      # kernel, operation, sed expression
    sed "$3" "$source/kernels/$1.cu" > "$dir/kernels/$1.cu"
    if cmp -s "$source/kernels/$1.cu" "$dir/kernels/$1.cu"; then
        echo "$1: the fault '$3' finds no place any more" >&2; failed=1; return
    fi
    others=$(grep -v "/[^/]*${1}_on_host.cc.o" <<< "$objects")
    printf '#include "tests/cuda_on_host.h"\n#include "%s"\n' "$dir/kernels/$1.cu" > "$dir/mutant.cc"
    ${CXX:-c++} -std=c++17 -O1 -ffp-contract=off -w -D_GNU_SOURCE -I"$source" -c "$dir/mutant.cc" -o "$dir/mutant.o" &&
        ${CXX:-c++} $others "$dir/mutant.o" -Wl,--start-group $libs -Wl,--end-group -lm -lpthread -ldl -o "$dir/mutant" ||
        { echo "$1: the mutant does not build" >&2; failed=1; return; }
    if timeout 60 "$dir/mutant" --op "$2" --most 1e6 > "$dir/out" 2>&1; then
        echo "$1: nobody noticed '$3'" >&2; failed=1
    fi
}

mutant attention attention 's/bool there = key < p.valid/bool there = key < p.keys/'
mutant attention attention 's/most\[r \/ 2\] = fmaxf(most\[r \/ 2\], l\[n\]\[r\])/most[0] = fmaxf(most[0], l[n][r])/'
mutant append kv_append '0,/    __syncthreads();/s///'
mutant moe moe '0,/    __syncthreads();/s///'
mutant moe moe 's/index < \*at)/index > *at)/'
mutant conv conv 's/y >= a.n\[1\]/y > a.n[1]/'
mutant linear linear 's/m < a.M && n < w.N/n < w.N/'
mutant norm layer_norm 's/if (m >= x.n\[2\])/if (m > x.n[2])/'
exit $failed

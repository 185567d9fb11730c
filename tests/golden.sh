#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every parity case of a folder at one kernel level and precision.
#   golden.sh ZOETROPE_MODEL GOLDEN_FOLDER LEVEL PRECISION
# Limits: f32 meets each case's own; those of bf16 and int8 stand in apps/check.c, with their reasons.
set -u
model=$1 golden=$2 level=$3 precision=$4
failed=0 cases=0
for dir in "$golden"/*/; do
    cases=$((cases + 1))
    if ! out=$(ZOETROPE_KERNELS=$level "$model" check "$dir" --precision "$precision" 2>&1); then
        echo "$(basename "$dir") at $level, $precision: $(grep -v 'ok$' <<< "$out" | head -n 3)" >&2
        failed=1
    fi
    grep -q 'ok$' <<< "$out" || failed=1        # something was compared
done
echo "$cases cases"
[ $cases -ge 37 ] && [ $failed = 0 ]

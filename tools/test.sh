#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what the tests need, builds into build/, runs the whole suite, prints 'N passed, N failed'.
#   tools/test.sh [--no-install] [--sanitize | --threads] [--long]
# --sanitize: AddressSanitizer and UBSan in build-asan/ instead; --threads: the engine's tests under ThreadSanitizer, in
# build-tsan/; --long: the soak and fuzz suite as well.
set -eu
cd "$(dirname "$0")/.."

install=1 dir=build long=0 options=() names=()
while [ $# -gt 0 ]; do
    case $1 in
        --no-install) install=0 ;;
        --sanitize) dir=build-asan; options=(-Db_sanitize=address,undefined -Db_lundef=false) ;;
        --threads) dir=build-tsan; options=(-Db_sanitize=thread -Db_lundef=false); names=(engine load replay) ;;
        --long) long=1 ;;
        *) echo "tools/test.sh: unknown option $1" >&2; exit 64 ;;
    esac
    shift
done

[ $install = 0 ] || tools/deps.sh all --install
[ ! -f $dir/build.ninja ] || options+=(--reconfigure)
setup=$(meson setup $dir "${options[@]}" 2>&1) || { tail -n 20 <<< "$setup" >&2; exit 70; }
ninja -C $dir

suites=(--no-suite long)
[ $long = 0 ] || suites=()
status=0
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}    # else it prints and goes on
set -o pipefail
meson test -C $dir "${suites[@]}" "${names[@]}" --print-errorlogs --timeout-multiplier 4 | tee $dir/test.log || status=$?
count() { sed -n "s/^$1: *\([0-9]*\).*/\1/p" $dir/test.log | tail -n 1 | grep . || echo 0; }
passed=$(($(count Ok) + $(count 'Expected Fail')))
failed=$(($(count Fail) + $(count Timeout) + $(count 'Unexpected Pass')))
printf '%d passed, %d failed\n' $passed $failed
[ $passed -gt 0 ] && [ $failed = 0 ] && [ $status = 0 ]

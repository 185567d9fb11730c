#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Whole models on the device `cuda`: the parity cases that it takes, at every precision, and streams through the engine.
#   fake_gpu.sh ZOETROPE_MODEL ZOETROPE_RENDER MAKE_WAN SMALL_MODEL TESTS_FOLDER
# With tests/fake_queue.cc as the module a host that touches the GPU's memory dies, and one that does not wait reads the past.
set -u
model=$(realpath "$1") render=$(realpath "$2") make_wan=$(realpath "$3") small=$(realpath "$4") tests=$(realpath "$5")
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
export ZOETROPE_CACHE=$work/cache
failed=0 ran=0
complain() { echo "FAIL: $1" >&2; failed=1; }

for dir in "$tests"/golden/{causal-*,dit-*,selfforcing-*,stream-*}; do
    precisions=f32
    case $dir in */causal-window-sink | */dit-original | */stream-small) precisions='f32 bf16 int8' ;; esac
    for precision in $precisions; do
        ZOETROPE_DEVICE=cuda "$model" check "$dir" --precision $precision > out 2> err
        code=$?
        if [ $code != 0 ] && grep -q 'which run on the CPU only' err; then continue; fi
        [ $code = 0 ] && grep -q 'ok$' out || complain "$(basename "$dir"), $precision: $(grep -v 'ok$' out | head -n 3) $(tail -n 1 err)"
        ran=$((ran + 1))
    done
done
[ $ran -ge 14 ] || complain "only $ran cases ran"

# The same stream on both devices: of the same model in the same precision a picture differs by roundings.
near() {        # PSNR of two files of the same size, in whole dB
    cmp -l "$1" "$2" | awk -v n="$(stat -c %s "$1")" '
        function of(s, i, v) { v = 0; for (i = 1; i <= length(s); i++) v = v * 8 + substr(s, i, 1); return v }
        { d = of($2) - of($3); sum += d * d } END { print sum ? int(10 * log(255 * 255 * n / sum) / log(10)) : 99 }'
}
stream() {      # name, least dB, arguments
    local name=$1 least=$2
    shift 2
    for device in cpu cuda; do
        "$render" -q -y --device $device --seed 3 "$@" -o $device.y4m 2> err || { complain "$name on $device: $(tail -n 1 err)"; return; }
    done
    [ "$(stat -c %s cpu.y4m)" = "$(stat -c %s cuda.y4m)" ] || { complain "$name: not as many pictures"; return; }
    [ "$(near cpu.y4m cuda.y4m)" -ge "$least" ] || complain "$name: $(near cpu.y4m cuda.y4m) dB"
}
stream 'experts, tiny decoder' 40 -m "$small" -p sea -n 4 --precision f32
"$make_wan" --size small --text small --seed 1 wan && mkdir wan/tokenizer && cp "$tests/tokenizer/spiece.model" wan/tokenizer &&
    cp "$tests/golden/taehv-decode/taew2_1.pth" wan && sed -i '1s/{/{ "width": 96, "height": 64, "window_frames": 9, "steps": 2,/' wan/config.json
"$render" -q -y -m wan -p sea -n 1 -o probe.y4m 2> err
grep -q libsentencepiece err || stream 'Wan, TAEHV' 40 -m wan -p 'mountains at sunset' -n 5 --precision f32
echo "$ran cases"
exit $failed

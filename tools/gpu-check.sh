#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All that can be learnt about the CUDA backend on a machine with a GPU, in one JSON, within 9 minutes and without a network.
#   tools/gpu-check.sh [--out FILE] [--build DIR] [--quick]
#   tools/gpu-check.sh --prepare [--build DIR]
# Builds DIR (build-gpu) where it is not there: meson, ninja, gcc, libcjson and nvcc are needed, nothing of GStreamer, FFmpeg or HTTP.
# Where the GPU's machine lacks those, --prepare builds DIR on another one, to be brought along: it holds all that runs.
# Writes FILE (gpu-check.json) after every part, so that what is done is there whatever happens; exits 0 when every part passed.
# --quick: small cases, no figures; ZOETROPE_MODULES with a module that feigns a GPU (tests/) makes that a rehearsal.
set -u
cd "$(dirname "$0")/.." || exit 2

out=gpu-check.json build=build-gpu quick=0 prepare=0
while [ $# -gt 0 ]; do
    case $1 in
        --out) out=$2; shift ;;
        --build) build=$2; shift ;;
        --quick) quick=1 ;;
        --prepare) prepare=1 ;;
        *) echo "tools/gpu-check.sh: unknown option $1" >&2; exit 64 ;;
    esac
    shift
done
end=$((SECONDS + 525))                  # 9 minutes, and something to end in
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT

# ---- the build

make_build() {
    command -v meson > /dev/null && command -v ninja > /dev/null || { echo "gpu-check: $build is not there, and meson or ninja is missing" >&2; return 1; }
    local off=()
    for option in ffmpeg rtsp webrtc http peers pull seccomp tokenizer; do off+=("-D$option=disabled"); done
    [ -f "$build/build.ninja" ] || meson setup "$build" "${off[@]}" -Dcuda=enabled -Dbuildtype=release > "$log/setup" 2>&1 ||
        { tail -n 5 "$log/setup" >&2; return 1; }
    ninja -C "$build" kernels/libzt_cuda.so tests/checkkernel apps/zoetrope-model apps/zoetrope-bench tools/make_wan tools/make_model > "$log/ninja" 2>&1 ||
        { tail -n 5 "$log/ninja" >&2; return 1; }
    mkdir -p "$build/lib"
    ldd "$build/apps/zoetrope-bench" | awk '/libcjson/ { print $3 }' | xargs -r -I{} cp -L {} "$build/lib/"
}

runs() {        # is there a build that runs here?
    [ -x "$build/tests/checkkernel" ] && LD_LIBRARY_PATH=$build/lib "$build/apps/zoetrope-bench" --version > /dev/null 2>&1
}

if [ $prepare = 1 ]; then
    make_build && runs && echo "$build is ready" && exit 0
    exit 70
fi
runs || make_build && runs || { echo "gpu-check: there is nothing to run in $build" >&2; exit 70; }
export LD_LIBRARY_PATH=$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
ck=$build/tests/checkkernel model=$build/apps/zoetrope-model bench=$build/apps/zoetrope-bench
$ck --device cuda --op combine --most 1 > "$log/first" 2>&1 || { echo "gpu-check: $(head -n 1 "$log/first")" >&2; exit 69; }

# ---- the account

parts=() failed=0
plain() { tr -d '\r' | tr '\n\t"\\' '  '"''" | cut -c 1-"${1:-400}"; }
write() {
    local IFS=,
    printf '{"commit": "%s", "gpu": "%s", "nvcc": "%s", "quick": %s, "parts": [%s]}\n' "$commit" "$gpu" "$nvcc" \
        "$([ $quick = 1 ] && echo true || echo false)" "${parts[*]}" > "$out"
}
add() {         # name, result, seconds, what it said, more JSON
    parts+=("{\"name\": \"$1\", \"result\": \"$2\", \"seconds\": $3, \"said\": \"$(plain <<< "$4")\"${5:+, $5}}")
    printf '%-28s %-8s %4d s  %s\n' "$1" "$2" "$3" "$(plain 100 <<< "$4")" >&2
    write
}
left() { echo $((end - SECONDS)); }
# name, seconds at most, command...: what it printed is in $log/name
part() {
    local name=$1 most=$2 started=$SECONDS code
    shift 2
    [ "$(left)" -gt "$most" ] || most=$(left)
    if [ "$most" -lt 5 ]; then add "$name" 'no time' 0 ''; failed=1; return 1; fi
    timeout "$most" "$@" > "$log/$name" 2>&1
    code=$?
    result=passed
    [ $code = 0 ] || { result=failed; failed=1; }
    [ $code != 124 ] || result='cut off'
    add "$name" "$result" $((SECONDS - started)) "$(grep -a -v '^$' "$log/$name" | tail -n 2)"
    [ $code = 0 ]
}
lines() { grep -a '^{' "$log/$1" | paste -s -d ,; }         # a part's JSON lines

commit=$(git rev-parse --short HEAD 2> /dev/null || echo unknown)
gpu=$(nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader 2> /dev/null | head -n 1 | plain)
nvcc=$(nvcc --version 2> /dev/null | tail -n 1 | plain)
write

# ---- right?

# The levels that this module has and this GPU takes, from plain to best.
levels=cuda
$ck --device cuda --level sm90 --op combine --most 1 > "$log/levels" 2>&1 && levels='cuda sm90'
most=(); [ $quick = 0 ] || most=(--most 1e5)
for level in $levels; do
    part "checkkernel-$level" 100 $ck --device cuda --level "$level" "${most[@]}"
done
golden() {
    local ran=0 bad=0
    for dir in tests/golden/{causal-*,dit-*,selfforcing-*,stream-*}; do
        for precision in $1; do
            ZOETROPE_DEVICE=cuda $model check "$dir" --precision "$precision" > "$log/case" 2>&1
            local code=$?
            [ $code = 0 ] || ! grep -q 'which run on the CPU only' "$log/case" || continue
            ran=$((ran + 1))
            [ $code = 0 ] || { bad=$((bad + 1)); echo "$(basename "$dir") $precision: $(grep -v 'ok$' "$log/case" | head -n 2)"; }
        done
    done
    echo "$ran cases, $bad failed"
    [ $bad = 0 ] && [ $ran -gt 0 ]
}
export -f golden; export model log
for level in $levels; do
    part "golden-$level" 60 env ZOETROPE_KERNELS="$level" bash -c "golden '$([ $quick = 1 ] && echo f32 || echo f32 bf16 int8)'"
done
if command -v compute-sanitizer > /dev/null && [ -z "${ZOETROPE_MODULES:-}" ]; then
    for tool in memcheck racecheck; do
        for level in $levels; do
            part "$tool-$level" 60 compute-sanitizer --tool $tool --error-exitcode 1 $ck --device cuda --level "$level" --most 1e5
        done
    done
    part memcheck-model 40 env ZOETROPE_DEVICE=cuda compute-sanitizer --tool memcheck --error-exitcode 1 $model check tests/golden/stream-small
else
    add sanitizers 'not here' 0 'compute-sanitizer is missing'
fi
[ $quick = 0 ] || { write; exit $failed; }

# ---- how fast? Not a must here: figures to be compared with those of the peers, on the same GPU in the same run.

for level in $levels; do
    for op in linear attention moe conv; do
        part "bench-$op-$level" 30 env ZOETROPE_KERNELS="$level" $bench kernels --device cuda --json --op $op &&
            add "figures-$op-$level" figures 0 '' "\"lines\": [$(lines "bench-$op-$level")]"
    done
done
if python3 -c 'import torch' 2> /dev/null; then
    part peers 60 python3 tools/gpu_peers.py && add figures-peers figures 0 '' "\"lines\": [$(lines peers)]"
else
    add peers 'not here' 0 'python3 has no torch'
fi

# A 1.3B with random weights: 832x480, chunks of three latents, 18720 keys. Its decoder is a small one: a pass is timed, no chunk.
wan=$log/wan
[ ! -w /dev/shm ] || wan=$(mktemp -d /dev/shm/wan.XXXXXX)
trap 'rm -rf "$log" "$wan"' EXIT
if [ "$(left)" -gt 60 ] && $build/tools/make_wan --size 1.3B --quant bf16 "$wan/m" > /dev/null 2>&1; then
    cp tests/golden/taehv-decode/taew2_1.pth "$wan/m"
    sed -i '1s/{/{ "width": 832, "height": 480, "window_frames": 12, "sink_frames": 3,/' "$wan/m/config.json"
    for precision in bf16 int8; do
        part "step-1.3B-$precision" 90 env ZOETROPE_KERNELS="${levels##* }" $bench step -m "$wan/m" --device cuda --precision $precision --json --seconds 10 &&
            add "figures-step-$precision" figures 0 '' "\"lines\": [$(lines "step-1.3B-$precision")]"
    done
fi
write
exit $failed

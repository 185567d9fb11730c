#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A server that ends leaves nothing behind: GStreamer's leaks tracer sees no object, LeakSanitizer no memory, whether its
# viewers have left or are still there. Usage: serve_leaks.sh SERVE MODEL WHEP_VIEW SUPPRESSIONS [SANITIZED]
set -u
serve=$(realpath "$1") model=$(realpath "$2") view=$(realpath "$3") known=$(realpath "$4")
command -v curl > /dev/null || { echo "needs curl"; exit 77; }
work=$(mktemp -d) || exit 2
trap 'kill -9 ${server:-} ${watcher:-} 2> /dev/null; rm -rf "$work"' EXIT
failed=0
complain() { printf 'FAIL: %s\n' "$1"; failed=1; }

# serve_some NAME LEAVE ENVIRONMENT…: viewers of each kind, then its end. LEAVE stay: some of them see it.
serve_some() {
    env "${@:3}" "$serve" -m "$model" --rtsp 127.0.0.1:0 --listen 127.0.0.1:0 --test-pattern 2> "$work/log" &
    server=$!
    for _ in $(seq 2400); do grep -q serving "$work/log" && break; kill -0 $server 2> /dev/null || break; sleep 0.05; done
    grep -qE 'built without|cannot serve WebRTC' "$work/log" && { cat "$work/log"; exit 77; }
    local url rtsp
    url=$(grep -o 'http://[^ ]*' "$work/log" | head -n 1) rtsp=$(grep -o 'rtsp://[^ ]*' "$work/log" | head -n 1)
    [ -n "$url" ] || { cat "$work/log"; exit 1; }
    "$view" "$url" 6 2 > "$work/viewers" 2>&1
    grep -q '"not_joined": 0' "$work/viewers" || complain "$1: $(cat "$work/viewers")"
    if command -v ffprobe > /dev/null; then timeout 30 ffprobe -v error -rtsp_transport tcp "$rtsp" || complain "$1: RTSP"; fi
    curl -s -m 20 -o /dev/null "${url}s/live.jpg" || complain "$1: no picture"
    if [ "$2" = stay ]; then
        "$view" "$url" 6 30 > /dev/null 2>&1 & watcher=$!
        for _ in $(seq 200); do curl -s "${url}metrics" | grep -q '^zoetrope_viewers 6' && break; sleep 0.05; done
        sleep 1
    fi
    kill -TERM $server
    wait $server || complain "$1: the server ended with $?: $(head -n 40 "$work/log")"
    server=
    if [ -n "${watcher:-}" ]; then kill -9 "$watcher"; wait "$watcher"; fi 2> /dev/null
    watcher=
}

# GstDtlsAgent: the one that GStreamer makes once and keeps, with the certificate of all connections.
trace() {
    serve_some "leaks tracer, viewers $1" "$1" ASAN_OPTIONS=detect_leaks=0 GST_TRACERS=leaks GST_DEBUG=GST_TRACER:7 \
        GST_DEBUG_NO_COLOR=1 GST_DEBUG_FILE="$work/trace"
    grep -q 'object-alive.class' "$work/trace" || { echo "no leaks tracer here"; exit 77; }
    grep 'object-alive, type-name=(string)[A-Z]' "$work/trace" > "$work/alive"
    [ "$(grep -c GstDtlsAgent "$work/alive")" = 1 ] || complain "not one DTLS agent: the tracer said nothing"
    [ "$(wc -l < "$work/alive")" = 1 ] || complain "viewers $1, alive: $(cut -c60-200 "$work/alive")"
}

# Without a sanitizer of its own the program runs under the stand-alone one. Eight frames are enough to tell what is known,
# and whole stacks take so long that viewers give up.
sanitize() {
    local preload=
    [ "${sanitized:-none}" = none ] && preload=$(cc -print-file-name=liblsan.so 2> /dev/null)
    [ "$preload" = liblsan.so ] && { echo "no liblsan.so: no LeakSanitizer here"; return; }
    serve_some "LeakSanitizer, viewers $1" "$1" ASAN_OPTIONS=detect_leaks=1 ${preload:+LD_PRELOAD="$preload"} \
        LSAN_OPTIONS="suppressions=$known:fast_unwind_on_malloc=0:malloc_context_size=8:print_suppressions=0"
}

sanitized=${5:-none}
for viewers in leave stay; do trace $viewers; sanitize $viewers; done
[ $failed = 0 ] && echo 'nothing is left'
exit $failed

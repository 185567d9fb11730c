#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# zoetrope-serve with three RTSP clients: one is killed, one stops reading for a while, the third gets every frame, and
# /metrics has one outcome for each slot that passed.
# Usage: serve_clients.sh SERVE MODEL [SECONDS]
set -u
serve=$(realpath "$1") model=$(realpath "$2") seconds=${3:-60}
command -v ffmpeg > /dev/null && command -v curl > /dev/null || { echo "needs ffmpeg and curl"; exit 77; }
work=$(mktemp -d) || exit 2
export XDG_CACHE_HOME=$work/cache
pids=()
trap 'kill -9 "${pids[@]}" 2> /dev/null; rm -rf "$work"' EXIT
failed=0
complain() { printf 'FAIL: %s\n' "$1"; failed=1; }

# GLib keeps memory of its own: no leak check here.
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 "$serve" -m "$model" --rtsp 127.0.0.1:0 --listen 127.0.0.1:0 2> "$work/log" &
server=$!
pids+=($server)
for _ in $(seq 1200); do grep -q serving "$work/log" && break; kill -0 $server 2> /dev/null || break; sleep 0.05; done
grep -q 'built without' "$work/log" && { cat "$work/log"; exit 77; }
url=$(grep -o 'rtsp://[^ ]*' "$work/log")
http=$(grep -o 'http://[^ ]*' "$work/log")
[ -n "$url" ] && [ -n "$http" ] || { cat "$work/log"; exit 1; }

# One line per access unit: its time stamp and size.
client() { exec ffmpeg -v error -rtsp_transport tcp -i "$url" -map 0:v -c copy -t "$1" -f framecrc -y "$2"; }
# outcomes FILE: what /metrics says now; sets total, dropped, repeated and when (ms).
outcomes() {
    curl -s "${http}metrics" > "$1"
    when=$(($(date +%s%N) / 1000000))
    total=$(awk '/^zoetrope_frames_total/ { n += $2 } END { print n + 0 }' "$1")
    dropped=$(awk '/^zoetrope_frames_total/ && /dropped/ { print $2 }' "$1")
    repeated=$(awk '/^zoetrope_frames_total/ && /repeated/ { print $2 }' "$1")
}
client $((seconds + 600)) "$work/killed" & killed=$!
client $((seconds + 600)) "$work/slow" & slow=$!
pids+=($killed $slow)
for _ in $(seq 1200); do outcomes "$work/metrics"; [ "$total" -gt 0 ] && break; sleep 0.05; done
before_total=$total before_dropped=$dropped before_repeated=$repeated before=$when
client "$seconds" "$work/third" & third=$!
pids+=($third)
sleep $((seconds / 6))
kill -9 $killed
kill -STOP $slow
sleep $((seconds / 3))
kill -CONT $slow
wait $third || complain "the third client ended with $?"
outcomes "$work/metrics"
kill $slow

# Time stamps are 1/90000 s; a slot is 1/24 s, give or take the rounding of the time base.
awk -F', *' '!/^#/ { if (n++ && ($2 - last) / 90000 > 1.5 / 24) { gaps++ } last = $2 } END { printf "%d %d\n", n, gaps }' "$work/third" > "$work/count"
read -r frames gaps < "$work/count"
echo "third client: $frames frames, $gaps gaps"
grep '^zoetrope_frames_total' "$work/metrics"
slots=$((total - before_total)) due=$(((when - before) * 24 / 1000))
dropped=$((dropped - before_dropped)) repeated=$((repeated - before_repeated)) handed=$((slots - dropped))
echo "while it was there: $slots slots with an outcome, $due due, $handed handed over"
if ! curl -s "${http}metrics" | grep -q '^zoetrope_quality_changes_total{reason="rate"} 0'; then
    echo "this machine is so busy that the frame rate was halved: nothing can be said of gaps"
    exit 77
fi
# Only what was never made may be missing: on a machine that is busy with other things slots are dropped. A repeat is
# counted when it is made, and may be overtaken in the encoder's queue.
[ "$gaps" -le $((dropped + repeated)) ] || complain "the third client missed frames"
# Every slot once: a count takes a curl's time, and a slot has its outcome when it is due or handed over.
[ $((slots - due)) -ge -6 ] && [ $((slots - due)) -le 6 ] || complain "$slots outcomes for $due slots"
# The client takes what comes in $seconds seconds; what comes while it starts, joins and leaves it does not get.
away=$((due - seconds * 24))
[ "$handed" -ge $((frames - 3)) ] && [ "$handed" -le $((frames + away + 6)) ] ||
    complain "$handed handed over, $frames received, $away came before and after"

kill -TERM $server
wait $server || complain "the server ended with $?"
exit $failed

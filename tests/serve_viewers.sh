#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# WHEP viewers in C against zoetrope-serve: each gets every picture, all from one encode; or many joins, of which nothing
# stays. Usage: serve_viewers.sh SERVE MODEL WHEP_VIEW pattern|model VIEWERS SECONDS [JOINS]
set -u
serve=$(realpath "$1") model=$(realpath "$2") view=$(realpath "$3")
[ "$4" = pattern ] && pictures=--test-pattern || pictures=
shift 4
command -v curl > /dev/null || { echo "needs curl"; exit 77; }
log=$(mktemp) || exit 2
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 "$serve" -m "$model" --rtsp 127.0.0.1:0 --listen 127.0.0.1:0 $pictures 2> "$log" &
server=$!
trap 'kill -9 $server 2> /dev/null; rm -f "$log"' EXIT
for _ in $(seq 1200); do grep -q serving "$log" && break; kill -0 $server 2> /dev/null || break; sleep 0.05; done
grep -qE 'built without|cannot serve WebRTC' "$log" && { cat "$log"; exit 77; }
url=$(grep -o 'http://[^ ]*' "$log" | head -n 1)
[ -n "$url" ] || { cat "$log"; exit 1; }
"$view" "$url" "$@"
code=$?
echo "threads after: $(ls /proc/$server/task | wc -l)"
kill -TERM $server
wait $server || { echo "the server ended with $?"; code=1; }
# On a machine that is busy with other things the pictures are not made in time, or not decoded.
if [ $code -ne 0 ] && [ "$#" -lt 3 ] && [ "$(cut -d. -f1 /proc/loadavg)" -gt $(($(nproc) + 1)) ]; then
    echo "this machine is busy: nothing can be said"
    exit 77
fi
exit $code

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a stranger may send: the right 4xx, a server that lives, and viewers who notice nothing.
# Usage: serve_hostile.sh SERVE MODEL WHEP_VIEW
set -u
serve=$(realpath "$1") model=$(realpath "$2") view=$(realpath "$3")
command -v curl > /dev/null || { echo "needs curl"; exit 77; }
work=$(mktemp -d) || exit 2
failed=0
complain() { printf 'FAIL: %s\n' "$1"; failed=1; }
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0:quarantine_size_mb=16     # what is freed counts as free
printf '# who may\ncontrol sesame-open\nview only-looking\n' > "$work/tokens"
trap 'kill -9 $server $private ${watcher:-} 2> /dev/null; rm -rf "$work"' EXIT
start() { "$serve" -m "$model" --rtsp 127.0.0.1:0 --listen 127.0.0.1:0 --test-pattern "${@:2}" 2> "$1" & }
address() {
    for _ in $(seq 1200); do grep -q serving "$1" && break; sleep 0.05; done
    grep -o 'http://[^ ]*' "$1" | head -n 1
}
start "$work/log"; server=$!
start "$work/private" --token-file "$work/tokens" --allow-origin https://friend.example; private=$!
url=$(address "$work/log") secret=$(address "$work/private")
[ -n "$url" ] && [ -n "$secret" ] || { cat "$work/log" "$work/private"; exit 77; }
port=${url##*:}; port=${port%/}

# expect STATUS WHAT CURL-ARGUMENTS…
expect() {
    local is
    is=$(curl -s -o "$work/body" -D "$work/head" -w '%{http_code}' --path-as-is -m 20 "${@:3}")
    [ "$is" = "$1" ] || complain "$2: $is, not $1: $(head -c 200 "$work/body")"
}
json=(-H 'Content-Type: application/json') sdp=(-H 'Content-Type: application/sdp')

grep -q 'no WebRTC\|cannot serve WebRTC' "$work/log" || { "$view" "$url" 2 20 > "$work/viewers" 2>&1 & watcher=$!; }

# methods, paths, hosts, origins
expect 405 'DELETE on a page' -X DELETE "$url"
grep -qi '^allow: GET' "$work/head" || complain 'no Allow'
expect 405 'PUT' -X PUT "${url}sessions"
expect 405 'GET on whep' "${url}whep/live"
expect 404 'path traversal' "${url}../../etc/passwd"
expect 404 'escaped traversal' "${url}%2e%2e/%2e%2e/etc/passwd"
expect 400 'a path with a zero' "${url}model%00"
expect 404 'a long path' "${url}$(head -c 6000 /dev/zero | tr '\0' a)"
expect 404 'an id that is none' "${url}sessions/../live"
expect 421 'a foreign host' -H 'Host: evil.example' "${url}model"
expect 421 'a host that begins like ours' -H 'Host: 127.0.0.1.evil.example' "${url}model"
expect 403 'a foreign origin' -H 'Origin: http://evil.example' "${url}model"
expect 403 'another port is another origin' -H 'Origin: http://127.0.0.1:1' "${url}model"
expect 200 'our origin' -H "Origin: ${url%/}" "${url}model"
expect 204 'OPTIONS' -X OPTIONS "${url}whep/live"
grep -qi '^accept-post: application/sdp' "$work/head" || complain 'no Accept-Post'

# bodies
expect 415 'JSON without its type' -X POST -d '{"prompt":"sea"}' "${url}sessions"
expect 400 'no JSON' -X POST "${json[@]}" -d '{"prompt":' "${url}sessions"
expect 400 'JSON that is no object' -X POST "${json[@]}" -d '[]' "${url}sessions"
expect 400 'deep JSON' -X POST "${json[@]}" -d "$(head -c 60000 /dev/zero | tr '\0' '[')" "${url}sessions"
printf '{"prompt":"\xff\xfe"}' > "$work/bad"
expect 400 'bad UTF-8' -X POST "${json[@]}" --data-binary "@$work/bad" "${url}sessions"
expect 400 'an empty prompt' -X POST "${json[@]}" -d '{"prompt":" "}' "${url}sessions"
expect 400 'an unknown key' -X POST "${json[@]}" -d '{"prompt":"sea","model":"x"}' "${url}sessions"
expect 400 'a bad size' -X POST "${json[@]}" -d '{"prompt":"sea","size":"3x3"}' "${url}sessions"
expect 400 'a fraction' -X POST "${json[@]}" -d '{"prompt":"sea","fps":2.5}' "${url}sessions"
expect 400 'an unknown control' -X PATCH "${json[@]}" -d '{"controls":{"jump":1}}' "${url}sessions/live"
expect 400 'a control that is too large' -X PATCH "${json[@]}" -d '{"controls":{"yaw":1e9}}' "${url}sessions/live"
expect 400 'a time that fills a page' -X PATCH "${json[@]}" -d '{"controls":{"yaw":0},"t":1e300,"seq":1}' "${url}sessions/live"
expect 400 'a number of a control that is none' -X PATCH "${json[@]}" -d '{"controls":{"yaw":0},"t":1,"seq":-1e300}' "${url}sessions/live"
expect 404 'no such session' -X DELETE "${url}sessions/0123456789abcdef0123456789abcdef"
expect 403 'live stays' -X DELETE "${url}sessions/live"
head -c 300000000 /dev/zero > "$work/large"
expect 413 'an oversized body' -X POST "${json[@]}" -H 'Expect:' --data-binary "@$work/large" "${url}sessions"
expect 411 'a chunked body' -X POST "${sdp[@]}" -H 'Transfer-Encoding: chunked' -d 'v=0' "${url}whep/live"
expect 415 'an offer without its type' -X POST "${json[@]}" -d '{}' "${url}whep/live"
expect 400 'an empty offer' -X POST "${sdp[@]}" -d '' "${url}whep/live"
expect 400 'no offer' -X POST "${sdp[@]}" -d 'hello' "${url}whep/live"
expect 404 'an offer to nobody' -X POST "${sdp[@]}" -d 'v=0' "${url}whep/nobody"
expect 404 'a resource that is none' -X PATCH -H 'Content-Type: application/trickle-ice-sdpfrag' -d 'a=x' "${url}whep/live/0"

# sessions come and go
expect 201 'a session' -X POST "${json[@]}" -d '{"prompt":"volcano with a cat","ttl_s":600}' "${url}sessions"
id=$(sed 's/.*"id":"\([0-9a-f]*\)".*/\1/' "$work/body")
grep -q '"ignored":\["cat"\]' "$work/body" || complain "ignored: $(cat "$work/body")"
expect 200 'steering it' -X PATCH "${json[@]}" -d '{"controls":{"yaw":0.5},"prompt":"sea"}' "${url}sessions/$id"
expect 200 'a picture of it' "${url}s/$id.jpg"
[ "$(head -c 3 "$work/body" | od -An -tx1 | tr -d ' ')" = ffd8ff ] || complain 'no JPEG'
curl -s -m 30 -o "$work/stream" "${url}s/$id.mjpeg" & pictures=$!
for _ in $(seq 200); do [ -s "$work/stream" ] && break; sleep 0.05; done
counted() { curl -s "${url}metrics" | awk '/^zoetrope_frames_total|duration_seconds_count{stage="encode"/ { n += $2 } END { print n }'; }
before=$(counted)
expect 204 'ending it' -X DELETE "${url}sessions/$id"
[ "$(counted)" -ge "$before" ] || complain "counters went back from $before to $(counted)"
wait $pictures || complain "the stream of pictures of a session that has ended: curl ended with $?"
expect 404 'it is gone' -X DELETE "${url}sessions/$id"
expect 201 'one that nobody wants' -X POST "${json[@]}" -d '{"prompt":"sea","ttl_s":1}' "${url}sessions"
id=$(sed 's/.*"id":"\([0-9a-f]*\)".*/\1/' "$work/body")

# tokens
bearer() { printf 'Authorization: Bearer %s' "$1"; }
expect 200 'the page needs none' "$secret"
expect 200 'nor does health' "${secret}healthz"
expect 401 'the model does' "${secret}model"
grep -qi '^www-authenticate: bearer' "$work/head" || complain 'no WWW-Authenticate'
expect 401 'a wrong one' -H "$(bearer sesame-opem)" "${secret}model"
expect 401 'one that begins like it' -H "$(bearer sesame-ope)" "${secret}model"
expect 200 'a viewer looks' -H "$(bearer only-looking)" "${secret}model"
expect 403 'a viewer may not steer' -H "$(bearer only-looking)" -X PATCH "${json[@]}" -d '{"prompt":"sea"}' "${secret}sessions/live"
expect 200 'who may control' -H "$(bearer sesame-open)" -X PATCH "${json[@]}" -d '{"prompt":"sea"}' "${secret}sessions/live"
expect 401 'an offer needs one' -X POST "${sdp[@]}" -d 'v=0' "${secret}whep/live"
expect 204 'OPTIONS needs none' -X OPTIONS -H 'Origin: https://friend.example' "${secret}whep/live"
grep -qi '^access-control-allow-origin: https://friend.example' "$work/head" || complain 'no Access-Control-Allow-Origin'

if command -v ffprobe > /dev/null; then
    rtsp=$(grep -o 'rtsp://[^ ]*' "$work/private" | head -n 1)
    ffprobe -v error -rtsp_transport tcp "$rtsp" 2> "$work/body" && complain 'RTSP without the token'
    grep -q 401 "$work/body" || complain "RTSP without the token: $(cat "$work/body")"
    timeout 30 ffprobe -v error -rtsp_transport tcp "rtsp://zoetrope:only-looking@${rtsp#rtsp://}" || complain 'RTSP with the token'
fi

# connections that say nothing are closed; half of the others are still served
holders=()
for _ in $(seq 50); do exec {fd}<> "/dev/tcp/127.0.0.1/$port" && printf 'GET /model HTTP/1.1\r\nHost: 127' >&"$fd" && holders+=("$fd"); done
expect 200 'served beside 50 that hold the line' "${url}model"
fds() { curl -s "${url}metrics" | awk '/^process_open_fds/ { print $2 }'; }
held=$(fds)
sleep 14
[ "$(fds)" -le $((held - 45)) ] || complain "the silent are not closed: $held descriptors, then $(fds)"
for fd in "${holders[@]}"; do exec {fd}>&-; done
expect 404 'its time is over' -X PATCH "${json[@]}" -d '{"prompt":"sea"}' "${url}sessions/$id"

if [ -n "${watcher:-}" ]; then
    wait "$watcher" || [ "$(cut -d. -f1 /proc/loadavg)" -gt $(($(nproc) + 1)) ] || complain "viewers noticed: $(cat "$work/viewers")"
    cat "$work/viewers"
fi
rss=$(curl -s "${url}metrics" | awk '/^process_resident_memory_bytes/ { print int($2 / 1e6) }')
[ "$rss" -lt 400 ] || complain "$rss MB after a body of 300 MB"
kill -TERM $server $private
wait $server || complain "the server ended with $?"
wait $private || complain "the private server ended with $?"
server=$$ private=$$
trap 'rm -rf "$work"' EXIT
exit $failed

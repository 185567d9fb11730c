#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Clips over HTTP beside a live session: asked for, followed, fetched, deleted, refused over the quota; what the server was
# rendering when it was ended or killed is the same file after the next start.
# Usage: serve_clips.sh SERVE RENDER MODEL
set -u
serve=$(realpath "$1") render=$(realpath "$2") model=$(realpath "$3")
command -v curl > /dev/null || { echo 'needs curl'; exit 77; }
work=$(mktemp -d) || exit 2
cd "$work" || exit 2
failed=0 server='' watcher=''
complain() { printf 'FAIL: %.400s\n' "$1"; failed=1; }
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 ZOETROPE_MODEL=$model
trap 'kill -9 $server $watcher 2> /dev/null; rm -rf "$work"' EXIT

start() {           # OPTIONS…
    : > log
    "$serve" --rtsp off --listen 127.0.0.1:0 "$@" 2> log & server=$!
    for _ in $(seq 1200); do grep -q serving log && break; kill -0 $server 2> /dev/null || break; sleep 0.05; done
    at=$(sed -n 's|.*serving \(http://[^ ]*\)/.*|\1|p' log)
    grep -q 'built without libsoup' log && { cat log; exit 77; }
    [ -n "$at" ] || { cat log; exit 1; }
}
stop() {            # SIGNAL CODE
    local began=$SECONDS code
    kill "-$1" $server; wait $server 2> /dev/null; code=$?
    [ $code = "$2" ] || complain "SIG$1: the server ended with $code: $(tail -3 log)"
    [ $((SECONDS - began)) -le 10 ] || complain "SIG$1 took $((SECONDS - began)) s"
    server=
}
expect() {          # STATUS WHAT CURL-ARGUMENTS…
    local is
    is=$(curl -s -o body -D head -w '%{http_code}' -m 60 "${@:3}")
    [ "$is" = "$1" ] || complain "$2: $is, not $1: $(head -c 300 body)"
}
post() { expect "$1" "POST $2" -H 'Content-Type: application/json' -d "$2" "$at/clips"; }
says() { grep -qF -- "$1" body || complain "\"$1\" is not in $(head -c 300 body)"; }
state() { curl -s -m 20 "$at/clips/$1" | sed -n 's/.*"state":"\([a-z]*\)".*/\1/p'; }
until_is() {        # ID STATE: within 120 s
    local is=
    for _ in $(seq 2400); do is=$(state "$1"); [ "$is" != "$2" ] || return 0; sleep 0.05; done
    complain "$1 is $is, not $2: $(curl -s -m 20 "$at/clips/$1")"
}
chunk() { for _ in $(seq 1200); do [ ! -e "dir/.$1/chunk-0000$2.mp4" ] || return 0; sleep 0.02; done; complain "$1: no chunk $2"; }
nothing() { [ -z "$(find dir -name "*$1*")" ] || complain "left behind: $(find dir -name "*$1*" | head -3)"; }

start
expect 404 'without --batch-dir' "$at/clips"
says -- '--batch-dir'
stop TERM 0

# ---- beside a live session: the bytes of zoetrope-render
start --batch-dir dir --batch-quota 200M -r 5 --steps 1       # leaves something, on slow machines too
curl -s -m 300 -o /dev/null "$at/s/live.mjpeg" & watcher=$!
short='{"id":"short","prompt":"desert at noon, and a cat","seed":7,"frames":100,"events":[{"frame":30,"prompt":"sea"}]}'
long='{"id":"long","prompt":"sea","seed":"18446744073709551615","frames":1200,"steps":4}'
post 201 "$short"
says '"ignored":["cat"]'
grep -qi '^location: /clips/short' head || complain "no Location: $(cat head)"
post 201 '{"id":"film","prompt":"sea","frames":48,"format":"webm"}'
post 201 '{"prompt":"sea","frames":30,"format":"y4m"}'
id=$(sed -n 's/.*"id":"\([0-9a-f]\{32\}\)".*/\1/p' body)
[ -n "$id" ] || complain "no id of its own: $(cat body)"
post 409 "$short"
for clip in short film "$id"; do until_is "$clip" done; done
expect 200 'a done clip' "$at/clips/short"
says '"url":"/clips/short/file"'; says '"frames":100'; says '"seed":"7"'; says '"sha256"'
expect 200 'its file' "$at/clips/short/file"
grep -qi '^content-type: video/mp4' head && grep -qi 'filename="short.mp4"' head || complain "headers: $(cat head)"
printf '%s\n%s\n' "$short" "$long" > manifest
"$render" -q --manifest manifest -o whole || complain 'the same without a server'
cmp body whole/short.mp4 || complain 'another file than zoetrope-render makes'
expect 206 'a part of it' -r 100-199 "$at/clips/short/file"
cmp body <(tail -c +101 whole/short.mp4 | head -c 100) || complain 'another part'
expect 200 'the list' "$at/clips"
[ "$(grep -o '"state":"done"' body | wc -l)" = 3 ] || complain "the list: $(cat body)"
frames() { curl -s -m 20 "$at/sessions/live" | sed -n 's/.*"outcomes":{\([^}]*\)}.*/\1/p' | tr ',' '\n' | awk -F: '{ n += $2 } END { print n + 0 }'; }
before=$(frames)
post 201 '{"id":"beside","prompt":"sea","frames":400}'
until_is beside done
[ "$(frames)" -gt "$before" ] || complain "the live session stood still at $before frames"
kill $watcher; wait $watcher 2> /dev/null; watcher=

# ---- what is refused
while IFS='|' read -r reason line; do
    post 400 "$line"
    says "$reason"
done <<'TABLE'
prompt\" is missing|{"frames":30}
id\": not 1 to 100|{"id":"../a","prompt":"sea"}
colour\": an unknown key|{"prompt":"sea","colour":1}
not have the control \"nose\"|{"prompt":"sea","controls":{"nose":1}}
are for zoetrope-render|{"prompt":"sea","model":"/etc"}
are for zoetrope-render|{"prompt":"sea","precision":"f32"}
are for zoetrope-render|{"replay":"/etc/passwd"}
png is many files|{"prompt":"sea","format":"png"}
above 4096|{"prompt":"sea","size":"8192x8192"}
not a JSON object|[1]
TABLE
expect 415 'no JSON' -d "$short" "$at/clips"
expect 404 'no such clip' "$at/clips/none"
expect 404 'no such file' "$at/clips/none/file"
expect 404 'another part' "$at/clips/short/mark"
expect 405 'PUT' -X PUT "$at/clips/short"
grep -qi '^allow: GET, DELETE' head || complain "Allow: $(cat head)"
timeout 60 "$serve" --rtsp off --listen 127.0.0.1:0 --batch-dir dir 2> second
[ $? = 73 ] && grep -q 'another server has it' second || complain "two servers, one directory: $(cat second)"

# ---- deleted: done, waiting, being rendered
post 201 '{"id":"first","prompt":"sea","frames":20000,"steps":16}'
post 201 '{"id":"second","prompt":"sea","frames":20000}'
until_is first rendering
chunk first 0
expect 409 'not done' "$at/clips/first/file"
grep -qi '^retry-after' head || complain "no Retry-After: $(cat head)"
expect 200 'waiting' "$at/clips/second"; says '"ahead":1'
for clip in second first short; do expect 204 "DELETE $clip" -X DELETE "$at/clips/$clip"; done
for clip in second first short; do expect 404 "$clip is gone" "$at/clips/$clip"; done
post 201 '{"id":"after","prompt":"sea","frames":30}'
until_is after done
for clip in second first short; do nothing "$clip"; done

# ---- ended and killed: it goes on
post 201 "$long"
chunk long 0
stop TERM 0
[ -e dir/.long/chunk-00000.mp4 ] || complain 'what was rendered is lost'
start --batch-dir dir
chunk long 2
stop KILL 137
start --batch-dir dir
until_is long done
cmp dir/long.mp4 whole/long.mp4 || complain 'another file after two ends'
expect 200 'those of before' "$at/clips"; says '"id":"film"'; says '"id":"after"'
stop TERM 0

# ---- the quota, while it is rendered and before
rm -rf dir
start --batch-dir dir --batch-quota 100k
post 507 '{"id":"raw","prompt":"sea","frames":100,"format":"y4m"}'
post 201 '{"id":"large","prompt":"sea","frames":4000}'
until_is large failed
expect 200 large "$at/clips/large"; says 'the quota is used up'
expect 409 'the file of a failed one' "$at/clips/large/file"
nothing large
post 201 '{"id":"small","prompt":"sea","frames":24,"size":"64x48"}'
until_is small done
post 201 '{"id":"exact","prompt":"sea","frames":12,"format":"y4m"}'
until_is exact done
post 507 '{"id":"again","prompt":"sea","frames":12,"format":"y4m"}'
expect 204 'DELETE exact' -X DELETE "$at/clips/exact"
post 201 '{"id":"again","prompt":"sea","frames":12,"format":"y4m"}'
until_is again done
stop TERM 0

# ---- who views may look and fetch, no more
printf 'control aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nview bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n' > tokens
start --batch-dir dir --token-file tokens
view='Authorization: Bearer bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'
expect 401 'no token' "$at/clips"
expect 200 'the list' -H "$view" "$at/clips"
expect 200 'a file' -H "$view" "$at/clips/again/file"
expect 403 'asking' -H "$view" -H 'Content-Type: application/json' -d "$short" "$at/clips"
expect 403 'deleting' -H "$view" -X DELETE "$at/clips/again"
stop TERM 0
exit $failed

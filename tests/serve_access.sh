#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A server that others may reach: its own addresses as Host, TLS, a range of UDP ports, the address behind a NAT.
# Usage: serve_access.sh SERVE MODEL
set -u
serve=$(realpath "$1") model=$(realpath "$2")
for needed in curl openssl; do command -v $needed > /dev/null || { echo "needs $needed"; exit 77; }; done
work=$(mktemp -d) || exit 2
failed=0
complain() { printf 'FAIL: %s\n' "$1"; failed=1; }
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
trap 'kill -9 ${server:-$$} 2> /dev/null; rm -rf "$work"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=watch.example \
    -addext 'subjectAltName=DNS:watch.example,IP:127.0.0.1,IP:127.0.0.2' \
    -keyout "$work/key" -out "$work/cert" 2> "$work/log" || { cat "$work/log"; exit 77; }
token=$(openssl rand -hex 16)               # everybody may knock at 0.0.0.0
printf '# %0600d control nobody-knows-this\ncontrol %s\n' 0 "$token" > "$work/tokens"
first=$((20000 + RANDOM % 10000)) last=$((first + 7))
port=

# start ADDRESS OPTIONS…
start() {
    : > "$work/log"             # the one before says where that one served
    "$serve" -m "$model" --rtsp "$1:0" --listen "$1:0" --token-file "$work/tokens" --test-pattern "${@:2}" 2> "$work/log" &
    server=$!
    for _ in $(seq 1200); do grep -q serving "$work/log" && break; kill -0 $server 2> /dev/null || break; sleep 0.05; done
    port=$(sed -n 's|.*serving https*://[^ ]*:\([0-9]*\)/.*|\1|p' "$work/log")
    grep -q 'built without libsoup\|TLS: no backend' "$work/log" && { cat "$work/log"; exit 77; }
    [ -n "$port" ] || { cat "$work/log"; exit 1; }
}
stop() {
    kill -TERM $server
    wait $server || complain "the server ended with $?"
    server=
}
# expect STATUS WHAT CURL-ARGUMENTS…
expect() {
    local is
    is=$(curl -s -o "$work/body" -w '%{http_code}' --cacert "$work/cert" -H "Authorization: Bearer $token" -m 20 "${@:3}")
    [ "$is" = "$1" ] || complain "$2: $is, not $1: $(head -c 200 "$work/body")"
}

# every address of its own is one that it answers to; names are not
start 0.0.0.0
expect 200 'the address that was asked' "http://127.0.0.2:$port/model"
expect 200 'with the port of a tunnel' -H 'Host: 127.0.0.2:9' "http://127.0.0.2:$port/model"
expect 200 'loopback through a tunnel' -H 'Host: localhost:9' "http://127.0.0.2:$port/model"
rtsp_at() { grep -q "\"rtsp\":\"rtsp://$1:[1-9]" "$work/body" || complain "not at $1: $(grep -o '"rtsp":"[^"]*"' "$work/body")"; }
expect 200 'a session' "http://127.0.0.2:$port/sessions/live"
rtsp_at 127.0.0.2
expect 200 'by another name' -H 'Host: localhost:9' "http://127.0.0.2:$port/sessions/live"
rtsp_at localhost
expect 421 'an address that was not asked' -H 'Host: 127.0.0.3' "http://127.0.0.2:$port/model"
expect 421 'a name that begins like the address' -H 'Host: 127.0.0.2.evil.example' "http://127.0.0.2:$port/model"
expect 421 'a name' -H 'Host: watch.example' "http://127.0.0.2:$port/model"
expect 421 'another server is not one of its pages' -H 'Host: evil.example' -H 'Origin: http://evil.example' "http://127.0.0.2:$port/model"
stop

if grep -q ' lo$' /proc/net/if_inet6 2> /dev/null; then
    start '[::]'
    grep -qF "serving http://[::]:$port/" "$work/log" || complain "no URL: $(cat "$work/log")"
    expect 200 'IPv6' "http://[::1]:$port/sessions/live"
    rtsp_at '\[::1]'
    expect 200 'IPv4 at an IPv6 socket' "http://127.0.0.2:$port/model"
    expect 200 'a session there' "http://127.0.0.2:$port/sessions/live"
    rtsp_at 127.0.0.2
    expect 421 'a name there' -H 'Host: watch.example' "http://127.0.0.2:$port/model"
    stop
fi

# TLS, and what a NAT changes
start 0.0.0.0 --tls-cert "$work/cert" --tls-key "$work/key" --udp-ports "$first-$last" --public-address 192.0.2.7
grep -q 'serving https://' "$work/log" || complain "it does not say https: $(cat "$work/log")"
expect 200 'TLS' "https://127.0.0.2:$port/model"
expect 200 'the public address' -H 'Host: 192.0.2.7' "https://127.0.0.1:$port/model"
expect 200 'a session behind a NAT' "https://127.0.0.1:$port/sessions/live"
rtsp_at 192.0.2.7
expect 200 'with a port' -H 'Host: 192.0.2.7:443' "https://127.0.0.1:$port/model"
expect 200 'a page of it' -H 'Host: 192.0.2.7' -H 'Origin: https://192.0.2.7' "https://127.0.0.1:$port/model"
expect 403 'that is not encrypted' -H 'Host: 192.0.2.7' -H 'Origin: http://192.0.2.7' "https://127.0.0.1:$port/model"
expect 421 'another public address' -H 'Host: 192.0.2.8' "https://127.0.0.1:$port/model"
expect 000 'plain text' "http://127.0.0.1:$port/model"
expect 200 'others are served after it' "https://127.0.0.1:$port/model"
curl -s -o /dev/null -m 20 "https://127.0.0.1:$port/healthz" && complain 'a certificate that nobody vouches for is believed'

fingerprint=$(openssl rand -hex 32 | sed 's|..|&:|g; s|:$||')
offer=(v=0 'o=- 1 2 IN IP4 127.0.0.1' s=- 't=0 0' 'a=group:BUNDLE 0' 'm=video 9 UDP/TLS/RTP/SAVPF 108'
    'c=IN IP4 0.0.0.0' a=ice-ufrag:abcd a=ice-pwd:0123456789012345678901 "a=fingerprint:sha-256 $fingerprint" a=setup:actpass
    a=mid:0 a=recvonly a=rtcp-mux 'a=rtpmap:108 H264/90000'
    'a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f')
printf '%s\r\n' "${offer[@]}" > "$work/offer"
if grep -q 'no WebRTC\|cannot serve WebRTC' "$work/log"; then
    echo 'no WebRTC here: its ports are not looked at'
else
    for viewer in 1 2 3; do
        expect 201 "viewer $viewer" -H 'Content-Type: application/sdp' --data-binary "@$work/offer" "https://127.0.0.1:$port/whep/live"
        cat "$work/body" >> "$work/answers"
    done
    grep -o '^a=candidate:.*' "$work/answers" | tr -d '\r' > "$work/candidates"
    [ -s "$work/candidates" ] || complain "no candidate: $(cat "$work/answers")"
    while read -r _ _ _ _ address udp _; do
        [ "$udp" -ge "$first" ] && [ "$udp" -le "$last" ] || complain "UDP port $udp is not in $first-$last"
        [ "$address" = 192.0.2.7 ] || complain "candidate $address is not the public address"
    done < "$work/candidates"
    echo "UDP ports in $first-$last: $(cut -d' ' -f6 "$work/candidates" | tr '\n' ' ')"
fi
stop

start 0.0.0.0 --rtsp 127.0.0.1:0 --public-address 192.0.2.7
expect 200 'a session whose RTSP is for this machine' "http://127.0.0.2:$port/sessions/live"
rtsp_at 127.0.0.1
stop
trap 'rm -rf "$work"' EXIT
exit $failed

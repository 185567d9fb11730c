#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Debian's Janus pulls the RTSP stream as doc/watching.md says, and a viewer of another make (aiortc) watches it through Janus.
#   janus.sh SERVE MODEL WHIP_SERVER.PY WATCHING.MD     $PYTHON: one with aiortc (/usr/bin/python3)
set -u
serve=$(realpath "$1") model=$(realpath "$2") player=$(realpath "$3") doc=$(realpath "$4") python=${PYTHON:-/usr/bin/python3}
skip() { echo "skipped: $1"; exit 77; }
command -v janus > /dev/null || skip "there is no janus"
"$python" -c 'import aiortc, aiohttp' 2> /dev/null || skip "$python has no aiortc (python3-aiortc, python3-aiohttp)"
plugins=$(dirname "$(find /usr/lib -name libjanus_streaming.so | head -n 1)")
[ -d "$plugins" ] || skip "janus has no streaming plugin"
work=$(mktemp -d) || exit 2
server='' janus=''
trap 'kill $server $janus 2> /dev/null; wait 2> /dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 2

"$serve" -m "$model" --rtsp 127.0.0.1:0 --listen off --test-pattern 2> serve.log &
server=$!
for _ in $(seq 600); do grep -q 'rtsp://' serve.log && break; kill -0 $server || { cat serve.log; exit 1; }; sleep 0.05; done
url=$(grep -o 'rtsp://[^ ]*' serve.log | head -n 1)
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

mkdir config none
sed -n '/^zoetrope: {$/,/^}$/p' "$doc" | sed "s|url = .*|url = \"$url\"|" > config/janus.plugin.streaming.jcfg
grep -q "$url" config/janus.plugin.streaming.jcfg || { echo "FAIL: no recipe in $doc"; exit 1; }
cat > config/janus.jcfg << CONFIG
general: { configs_folder = "$work/config" plugins_folder = "$work/plugins" transports_folder = "$work/transports"
           events_folder = "$work/none" loggers_folder = "$work/none" server_name = "zoetrope" }
nat: { ice_enforce_list = "lo" ignore_mdns = true }
CONFIG
echo "general: { json = \"plain\" base_path = \"/janus\" http = true port = $port ip = \"127.0.0.1\" https = false }
admin: { admin_http = false }" > config/janus.transport.http.jcfg
mkdir plugins transports
ln -s "$plugins/libjanus_streaming.so" plugins
ln -s "$(dirname "$plugins")/transports/libjanus_http.so" transports
janus -F "$work/config" > janus.log 2>&1 &
janus=$!
for _ in $(seq 200); do
    (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null && break
    kill -0 $janus 2> /dev/null || { tail -n 5 janus.log; exit 1; }
    sleep 0.05
done
# Without rtsp_failcheck it connects when 5 s have passed.
for _ in $(seq 300); do grep -q 'New video stream' janus.log && break; sleep 0.05; done
"$python" "$player" janus "http://127.0.0.1:$port/janus" 6 > played 2>&1 || { echo "FAIL: $(tail -n 3 played)"; grep -v "^  *$" janus.log | tail -n 20; exit 1; }
cat played
n=$(grep -o '^[0-9]* pictures' played | cut -d' ' -f1)
[ "${n:-0}" -ge 96 ] || { echo "FAIL: $n pictures in 6 seconds of 24"; exit 1; }

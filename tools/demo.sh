#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh Debian 12 to a generated live stream.
#   tools/demo.sh [-y] [--check] [--no-install] [--port N]
# Shows which packages are missing and their download size, asks (unless -y or --check), installs, builds into build/,
# serves the shipped model and prints where to watch. --check does it unattended, receives the stream, renders a clip, exits.
set -eu
cd "$(dirname "$0")/.."

yes=0 check=0 install=1 port=8554 installed=0
while [ $# -gt 0 ]; do
    case $1 in
        -y) yes=1 ;;
        --check) check=1 yes=1 ;;
        --no-install) install=0 ;;
        --port) shift; port=${1:?--port needs a number} ;;
        -h | --help) sed -n '3,6s/^# //p' "$0"; exit 0 ;;
        *) echo "tools/demo.sh: unknown option $1 (try --help)" >&2; exit 64 ;;
    esac
    shift
done

say() { printf '%s\n' "$*" >&2; }

packages() {
    local need size
    need=$(tools/deps.sh build --missing)
    [ -n "$need" ] || return 0
    [ $install = 1 ] || { say "Missing packages:" $need; exit 69; }
    local sudo=
    if [ "$(id -u)" != 0 ]; then
        sudo=$(command -v sudo) || { say "Packages are missing and this is neither root nor sudo:" $need; exit 69; }
        say "Some packages are missing; sudo apt-get update tells how large they are."
    fi
    $sudo apt-get update -qq > /dev/null || true
    size=$(apt-get install --no-install-recommends -s $need 2>/dev/null | grep -c '^Inst' || true)
    say "To build and run, $size packages are missing:" $need
    $sudo apt-get install --no-install-recommends --assume-no $need 2>/dev/null | grep -E '^(Need to get|After this)' >&2 || true
    if [ $yes = 0 ]; then
        read -r -p "Install them now? [Y/n] " answer
        case $answer in '' | y | Y | yes) ;; *) exit 69 ;; esac
    fi
    say "Installing…"
    tools/deps.sh build --install
    installed=1
}

build() {
    if [ ! -f build/build.ninja ]; then
        meson setup build > build.log 2>&1 || { tail -n 20 build.log >&2; exit 70; }
        rm -f build.log
    elif [ $installed = 1 ]; then       # what is built in depends on what was there
        meson setup --reconfigure build > build/demo.log 2>&1 || { tail -n 20 build/demo.log >&2; exit 70; }
    fi
    say "Building into build/ …"
    ninja -C build > build/demo.log 2>&1 || { tail -n 30 build/demo.log >&2; exit 70; }
}

busy() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

# free_port PORT [TAKEN]: the first from PORT on that nobody listens on and that is not TAKEN.
free_port() {
    local p=$1
    while [ "$p" = "${2:-}" ] || busy "$p"; do p=$((p + 1)); done
    [ "$p" = "$1" ] || say "Port $1 is busy: using $p."
    echo "$p"
}

# Joins over RTSP and waits for the first RTP packet: no client program needed.
first_packet() {
    local url=rtsp://127.0.0.1:$1/live line session=
    exec 3<> "/dev/tcp/127.0.0.1/$1"
    reply() {
        local status
        read -r -t 15 status <&3 || return 1
        while read -r -t 15 line <&3; do
            line=${line%$'\r'}
            [ -n "$line" ] || break
            case $line in Session:*) session=${line#Session: }; session=${session%%;*} ;; Content-Length:*) length=${line#*: } ;; esac
        done
        [[ $status == *" 200 "* ]]
    }
    local length=0
    printf 'DESCRIBE %s RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n' "$url" >&3
    reply || return 1
    head -c "$length" <&3 > /dev/null
    printf 'SETUP %s/stream=0 RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n' "$url" >&3
    reply || return 1
    printf 'PLAY %s RTSP/1.0\r\nCSeq: 3\r\nSession: %s\r\n\r\n' "$url" "$session" >&3
    # RTP may come before the reply: both begin with a byte, '$' or 'R'; read past the reply when it is first.
    local byte
    LC_ALL=C IFS= read -r -t 15 -n 1 byte <&3 || return 1
    if [ "$byte" = R ]; then
        reply || true
        LC_ALL=C IFS= read -r -t 15 -n 1 byte <&3 || return 1
    fi
    [ "$byte" = '$' ]
    local ok=$?
    exec 3>&-
    return $ok
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }

packages
build
port=$(free_port "$port")
http=$(free_port 8080 "$port")

start=$(now_ms)
build/apps/zoetrope-serve --rtsp "127.0.0.1:$port" --listen "127.0.0.1:$http" &
server=$!
trap 'kill $server 2> /dev/null || true' EXIT
until busy "$http"; do              # opened last: all is there then
    kill -0 $server 2> /dev/null || { wait $server; exit $?; }
    sleep 0.02
done
if ! first_packet "$port"; then
    say "No picture came from rtsp://127.0.0.1:$port/live."
    exit 70
fi
took=$(($(now_ms) - start))
say "  Open     http://127.0.0.1:$http/ in a browser"
[ -z "${SSH_CONNECTION:-}" ] || say "           from your own machine: ssh -L $http:127.0.0.1:$http $(id -un)@$(set -- $SSH_CONNECTION; echo "$3") first"
say "  Or       ffplay rtsp://127.0.0.1:$port/live"
say "  Numbers  http://127.0.0.1:$http/metrics"
say "  Render   build/apps/zoetrope-render -p \"snowy mountains at sunset\" -n 240 -o clip.mp4"
say "First picture $took ms after start."

if [ $check = 1 ]; then
    clip=$(mktemp -d)
    build/apps/zoetrope-render -q -p "volcano at night" -n 24 -o "$clip/clip.mp4"
    [ -s "$clip/clip.mp4" ] || { say "The clip is empty."; exit 70; }
    rm -r "$clip"
    kill -TERM $server 2> /dev/null || { say "The server did not last until the clip was rendered."; wait $server; exit $?; }
    wait $server || { say "The server did not stop cleanly."; exit 70; }
    trap - EXIT
    say "demo --check: all well."
    exit 0
fi
say "  Stop     Ctrl-C"
trap - EXIT
trap 'kill -TERM $server 2> /dev/null' INT TERM
code=0
wait $server || code=$?
if kill -0 $server 2> /dev/null; then       # a signal ended that wait
    code=0
    wait $server || code=$?
fi
exit $code

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Uses zoetrope-preview as a person would, under Xvfb: types, steers, records, opens every panel; takes a picture of every
# state into OUT, and counts what GTK painted.
#   preview.sh PREVIEW TEST_PREVIEW RENDER OUT [slow]
# slow: built with what makes it slower, so that nothing is said about the rate.
set -u
preview=$1 names=$2 render=$3 out=$4 slow=${5:-}
for needed in Xvfb xdotool import convert ffprobe; do
    command -v $needed > /dev/null || { echo "needs $needed (Debian: xvfb xdotool imagemagick ffmpeg)"; exit 77; }
done
work=$(mktemp -d)
mkdir -p "$out" "$work/config/gtk-4.0"
rm -f "$out"/*.png
printf '[Settings]\ngtk-font-name=Cantarell 11\ngtk-enable-animations=false\n' > "$work/config/gtk-4.0/settings.ini"
export HOME=$work XDG_CONFIG_HOME=$work/config XDG_CACHE_HOME=$work/cache XDG_DATA_HOME=$work/data GDK_BACKEND=x11 GSK_RENDERER=cairo
export GTK_A11Y=none NO_AT_BRIDGE=1 ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0}
unset XDG_VIDEOS_DIR DBUS_SESSION_BUS_ADDRESS

mkfifo "$work/display"
exec 3<> "$work/display"
Xvfb -displayfd 3 -screen 0 1180x780x24 -nolisten tcp -noreset > "$work/xvfb.log" 2>&1 &
xvfb=$! pid=
finish() { [ -z "$pid" ] || kill -9 $pid 2> /dev/null; kill $xvfb 2> /dev/null; wait 2> /dev/null; rm -rf "$work"; }
trap finish EXIT
read -t 20 -r number <&3 || { cat "$work/xvfb.log"; exit 77; }
export DISPLAY=:$number

failed=0
bad() { echo "FAIL: $*"; failed=1; }
log() { [ ! -s "$work/log" ] || sed 's/^/    /' "$work/log"; }

# Tries a command for some seconds.
until_true() { for _ in $(seq $(($1 * 10))); do "${@:2}" && return 0; sleep 0.1; done; return 1; }

start() {
    "$preview" --report "$work/report.json" "$@" > "$work/log" 2>&1 &
    pid=$!
    until_true 20 eval 'window=$(xdotool search --onlyvisible --name "^Zoetrope$" 2> /dev/null | tail -n 1); [ -n "$window" ]' ||
        { bad 'no window'; log; exit 1; }
    xdotool windowfocus --sync "$window"
}

stop() {
    kill -TERM $pid
    until_true 10 eval '! kill -0 $pid 2> /dev/null' || bad 'SIGTERM did not end it'
    wait $pid
    local code=$?
    pid=
    [ $code = 0 ] || { bad "it ended with $code"; log; }
    ! grep -E 'CRITICAL|assertion' "$work/log" || bad 'GTK complains'
}

shot() { import -window root "$out/$1.png"; }
key() { xdotool key "$@"; sleep 0.4; }
# The mean colour of the live picture, "R G B" in 0..255.
mean() { import -window root png:- | convert png:- -crop 600x300+60+150 -scale '1x1!' -depth 8 rgb:- | od -An -tu1 -N3; }
light() { set -- $(mean); [ $(($1 + $2 + $3)) -gt 240 ] && [ $(($1 + $2 + $3)) -lt 735 ]; }    # neither night nor an empty window
dark() { set -- $(mean); [ $(($1 + $2 + $3)) -lt 330 ] && [ $(($1 + $2 + $3)) -gt 20 ]; }
differ() { ! cmp -s "$out/$1.png" "$out/$2.png"; }
field() { sed -n "s/.*\"$1\": \([0-9.]*\).*/\1/p" "$work/report.json"; }

# ---- names, parts; loading and busy, which pass too fast to be caught from outside

GTK_A11Y=test "$names" "$out" > "$work/names" 2>&1 || { cat "$work/names"; bad 'names or parts'; }
[ -s "$out/01-loading.png" ] && [ -s "$out/02-busy.png" ] && differ 01-loading 02-busy || bad 'no picture of loading and busy'

# ---- error, empty

mkdir "$work/broken"
echo '{"not": "a model"' > "$work/broken/config.json"
start -m "$work/broken"
sleep 1
shot 02-error
grep -q 'config.json' "$work/log" || bad 'a broken model is not named'
stop
start -m "$work/nowhere"
sleep 1
shot 03-empty
differ 02-error 03-empty || bad 'a missing model looks like a broken one'
stop

# ---- a session

mkdir -p "$work/config/zoetrope"
printf '[preview]\nnetwork=false\n' > "$work/config/zoetrope/preview.ini"
export ZOETROPE_LOG=info
start -p 'ice at noon' --seed 3
until_true 20 light || bad "no picture: $(mean)"
shot 04-live
key ctrl+l
xdotool type --delay 40 'volcano at nig'
sleep 0.4
shot 05-suggestions
key Tab Return
until_true 15 dark || bad "a typed prompt does not change the picture: $(mean)"
shot 06-prompt

before=$(mean)
xdotool keydown Left
sleep 1.5
shot 07-steering
xdotool keyup Left

key ctrl+shift+r
sleep 2
shot 08-recording
key ctrl+shift+r
key ctrl+s
until_true 10 eval 'ls "$work"/Videos/Zoetrope/*.mp4 > /dev/null 2>&1' || bad 'nothing was recorded'
for f in "$work"/Videos/Zoetrope/*.mp4; do
    frames=$(ffprobe -v error -count_packets -select_streams v -show_entries stream=nb_read_packets -of csv=p=0 "$f")
    [ "${frames:-0}" -gt 8 ] || bad "the recording has ${frames:-no} frames"
done
until_true 5 eval 'ls "$work"/Pictures/Zoetrope/*.png > /dev/null 2>&1' || bad 'no picture was saved'

for page in 1 2 3; do
    key alt+$page
    sleep 0.6
    shot 1$page-panel
done
differ 11-panel 12-panel && differ 12-panel 13-panel || bad 'panels look alike'

key ctrl+shift+s                # the session's log
until_true 5 eval 'ls "$work"/Videos/Zoetrope/*.jsonl > /dev/null 2>&1' || bad 'no session log was saved'
sleep 0.5
"$render" --replay "$work"/Videos/Zoetrope/*.jsonl -n 4 -q -o "$work/again.y4m" || bad 'zoetrope-render cannot replay the session log'
key ctrl+d
sleep 2
shot 14-compare
differ 13-panel 14-compare || bad 'nothing is compared'
key ctrl+d
until_true 10 dark || bad 'no picture after comparing'
sleep 8                         # long enough not to be over when it is paused
key ctrl+p
until_true 15 eval 'dark && [ "$(mean)" != "$(sleep 0.3; mean)" ]' || bad 'a replay does not move'
shot 15-replay
key space
sleep 0.4
until_true 5 eval '[ "$(mean)" = "$(sleep 0.3; mean)" ]' || bad 'a paused replay moves'
key ctrl+l Return               # whoever asks for a picture gets a live one
until_true 10 eval 'dark && [ "$(mean)" != "$(sleep 0.3; mean)" ]' || bad 'a prompt does not end a replay'

key alt+4
sleep 0.4
shot 16-panel
key ctrl+shift+n
until_true 10 grep -q 'sharing http' "$work/log" || bad 'nothing is shared'
sleep 1
shot 17-sharing
differ 16-panel 17-sharing || bad 'sharing shows no address'
page=$(sed -n 's/.*sharing \(http[^ ]*\) .*/\1/p' "$work/log") rtsp=$(sed -n 's/.*sharing .*\(rtsp:.*\)/\1/p' "$work/log")
case $rtsp in
    *:0/live) echo 'built without RTSP' ;;
    *) [ "$(timeout 20 ffprobe -v error -rtsp_transport tcp -show_entries stream=codec_name -of csv=p=0 "$rtsp")" = h264 ] || bad "nothing at $rtsp" ;;
esac
if command -v curl > /dev/null && [ "${page%:0/}" = "$page" ]; then
    curl -sf -m 5 "$page" -o "$work/page" && grep -q '<html' "$work/page" || bad 'no viewer page'
    curl -sf -m 10 "${page}s/live.jpg" -o "$work/live.jpg" && [ "$(convert "$work/live.jpg" -format '%wx%h' info:)" = 512x288 ] || bad 'no live picture'
    curl -sf -m 5 -X PATCH -H 'Content-Type: application/json' -d '{"prompt": "ice at noon"}' "${page}sessions/live" > /dev/null || bad 'no steering'
    until_true 15 light || bad "a viewer's prompt does not change the picture"
fi
key ctrl+shift+n
[ "${page%:0/}" != "$page" ] || until_true 10 eval '! curl -s -m 2 "$page" > /dev/null' || bad 'sharing does not end'

key Escape
xdotool mousemove 400 300 click 1
key space
sleep 0.5
shot 20-paused
sleep 0.7
[ "$(mean)" = "$(sleep 0.3; mean)" ] || bad 'a paused picture moves'
key space
key ctrl+question
sleep 0.8
shot 21-shortcuts
key Escape
xdotool windowfocus "$window"
xdotool windowsize "$window" 360 640
sleep 0.8
set -- $(xdotool getwindowgeometry --shell "$window" | sed -n 's/WIDTH=//p')
[ "$1" -le 360 ] || bad "needs $1 pixels of width, 360 are promised"
shot 22-narrow
key F9
shot 23-narrow-panel
key F9
stop
grep -q '^prompt=ice at noon' "$work/config/zoetrope/preview.ini" || bad 'the prompt is not kept'

# ---- dark, and what was kept

sed -i 's/^scheme=.*/scheme=2/; s/^width=.*/width=1180/; s/^height=.*/height=760/; s/^page=.*/page=timing/; s/^panel=.*/panel=true/' \
    "$work/config/zoetrope/preview.ini"
# Clock ticks that all CPUs were busy, and those of the preview and the X server.
all() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 + $9 }' /proc/stat; }
own() { cat /proc/$pid/stat /proc/$xvfb/stat | awk '{ n += $14 + $15 } END { print n }'; }

for try in 1 2 3; do
    start
    sleep 1
    before=$(($(all) - $(own)))
    sleep 8
    others=$((($(all) - $(own) - before) * 100 / (8 * $(getconf CLK_TCK) * $(nproc))))
    [ $try != 1 ] || shot 30-dark
    stop
    fps=$(field fps)
    echo "shown: $(cat "$work/report.json"), other programs had $others % of the CPUs"
    [ -z "$slow" ] || break
    awk -v fps="$fps" 'BEGIN { exit !(fps >= 23) }' && break
done
if [ -n "$slow" ] || { [ "$others" -gt 20 ] && ! awk -v fps="$fps" 'BEGIN { exit !(fps >= 23) }'; }; then
    echo "not judged: the rate of a slow build or on a busy machine"
else
    awk -v fps="$fps" 'BEGIN { exit !(fps >= 23) }' || bad "$fps frames per second were painted, 23 of 24 are promised"
fi
exit $failed

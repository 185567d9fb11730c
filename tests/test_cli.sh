#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Whole programs: every exit code, what is left on the disk, and that the same seed gives the same frames.
# Usage: test_cli.sh RENDER SERVE BENCH MODEL [FAIL_ENCODER]
set -u
render=$(realpath "$1") serve=$(realpath "$2") bench=$(realpath "$3") model=$(realpath "$4") fail_encoder=${5:+$(realpath "$5")}
export ZOETROPE_MODEL=$model LC_ALL=C
work=$(mktemp -d) || exit 2
export XDG_CACHE_HOME=$work/cache
trap 'kill $(jobs -p) 2> /dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 2
failed=0
complain() { printf 'FAIL: %.300s\n' "$1"; failed=1; }

# expect CODE LINE WORDS...: the code, and exactly one line on stderr that contains LINE.
expect() {
    local code=$1 line=$2; shift 2
    timeout 60 "$@" > out 2> err < /dev/null
    local got=$?
    [ $got -eq "$code" ] || complain "exit $got, not $code: $* ($(head -c 200 err))"
    if [ -n "$line" ]; then
        [ "$(wc -l < err)" -eq 1 ] || complain "$(wc -l < err) lines on stderr: $* ($(cat err))"
        grep -qF -- "$line" err || complain "\"$line\" is not in \"$(cat err)\": $*"
    fi
}
nothing_left() { [ -z "$(ls -A out.* 2> /dev/null)" ] || complain "$1 left $(ls out.*)"; rm -f out.*; }

# ---- 64: flags and values
big=$(head -c 65537 /dev/zero | tr '\0' a)
while IFS='|' read -r line arguments; do
    eval "expect 64 \"\$line\" $render $arguments"
done <<'TABLE'
unknown option --nonsense|--nonsense -p sea -o out.y4m
unknown option -Z|-Z
--frames needs N|-p sea -o out.y4m --frames
-p PROMPT is missing|-o out.y4m
-o OUT is missing|-p sea
--frames: "0" is not a whole number|-p sea -o out.y4m -n 0
--frames: "-3"|-p sea -o out.y4m -n -3
--frames: "4x"|-p sea -o out.y4m -n 4x
--fps: "61"|-p sea -o out.y4m -r 61
--steps: "65"|-p sea -o out.y4m --steps 65
--steps: ""|-p sea -o out.y4m --steps ""
--seed: "-1"|-p sea -o out.y4m --seed -1
--seed: "18446744073709551616"|-p sea -o out.y4m --seed 18446744073709551616
--size: "64"|-p sea -o out.y4m --size 64
--size: "8x8"|-p sea -o out.y4m --size 8x8
--size: "9000x16"|-p sea -o out.y4m --size 9000x16
must be even|-p sea -o out.y4m --size 65x48
--bitrate: "12"|-p sea -o out.mp4 --bitrate 12
--bitrate: "2Q"|-p sea -o out.mp4 --bitrate 2Q
--codec: "h263"|-p sea -o out.mp4 --codec h263
exclude each other|-p sea -o out.mp4 --crf 20 --bitrate 1M
--overwrite takes no value|-p sea -o out.y4m --overwrite=1
one argument too many|-p sea -o out.y4m sea
not by options|-p sea -o out --manifest x
-o DIR is missing|--manifest x
need --manifest|-p sea -o out.y4m --resume
--replay has its own prompts|-o out.y4m --replay x -p sea
--image and --replay exclude|-o out.y4m --replay x --image y
cannot both go to stdout|-p sea -o - --progress -
prompt: empty|-o out.y4m -p ""
prompt: empty|-o out.y4m -p "  "
prompt: byte 1 is not UTF-8|-o out.y4m -p $'a\xff'
prompt: longer than|-o out.y4m -p "$big"
TABLE
nothing_left 'a bad value'
expect 64 'ZOETROPE_STEPS: "many"' env ZOETROPE_STEPS=many "$render" -p sea -o out.y4m
expect 64 'unknown option' "$serve" --frames 3
expect 64 '0.0.0.0 can be reached by others' "$serve" --listen 0.0.0.0:8080
expect 64 '192.0.2.1 can be reached by others' "$serve" --rtsp 192.0.2.1:8554
expect 64 'is not HOST:PORT' "$serve" --listen 127.0.0.1
expect 64 'is not HOST:PORT' "$serve" --listen 127.0.0.1:99999
expect 64 '--steps: "3-2"' "$serve" --steps 3-2
expect 64 'stun:HOST:PORT' "$serve" --ice-server turn:user@turn.example:3478
expect 64 'stun:HOST:PORT' "$serve" --ice-server 'stun:stun.example:3478 turn.example'
expect 64 'nothing to serve' "$serve" --listen off --rtsp off
expect 64 'what to measure is missing' "$bench"
expect 66 'No such file' "$render" -o out.y4m --replay none.jsonl
expect 65 'not the head' "$render" -o out.y4m --replay "$model/config.json"
head='"engine": "9.0", "model": "m", "hash": "1f", "level": "c", "precision": "f32", "seed": 1, "width": 64, "height": 48, "fps": 24}'
echo "{\"zoetrope\": 2, $head" > newer.jsonl
expect 65 'newer.jsonl: line 1: a newer program wrote it' "$render" -o out.y4m --replay newer.jsonl
echo "{\"zoetrope\": 1, $head" > same.jsonl
expect 65 'there is no frame in it' "$render" -o out.y4m --replay same.jsonl
cp -r "$model" newer-model
sed -i '0,/{/s//{ "version": 2,/' newer-model/config.json
expect 65 "'version' is 2, not a whole number in 1..1: a newer program is needed" "$render" -m newer-model -p sea -n 1 -o out.y4m
sed -i 's/"version": 2,/"version": 1,/' newer-model/config.json
expect 0 '' "$render" -m newer-model -p sea -n 1 -o out.y4m -y
rm -f out.*
sched=$("$bench" sched --json --sessions 2 --clips 1 --seconds 5) || complain 'bench sched fails'
for key in sessions on_time fairness slack_used refused; do
    grep -q "\"$key\":" <<< "$sched" || complain "bench sched says nothing of $key"
done
"$render" -p sea -n 1 -o out.mkv 2> err
if ! grep -q 'built without' err; then
    rm -f out.*
    expect 64 '' "$render" -p sea --codec prores -o out.webm
    nothing_left 'an impossible pair'
fi
rm -f out.*

# ---- 65, 66: files
expect 66 '' "$render" -m missing -p sea -o out.y4m
expect 66 'missing.json' "$render" --config missing.json -p sea -o out.y4m
expect 66 'missing.jsonl' "$render" -p sea -o out.y4m --events missing.jsonl
mkdir bad && cp "$model"/* bad/ && printf '{' > bad/config.json
expect 65 '' "$render" -m bad -p sea -o out.y4m
for config in '{' '[]' '{"nonsense": 1}' '{"frames": "many"}' '{"frames": 1.5}' '{"prompt": 3}' '{"frames": [1]}'; do
    printf '%s' "$config" > c.json
    expect 65 'c.json' "$render" --config c.json -p sea -o out.y4m
done
for event in '{' '[]' '{"frame": -1}' '{"frame": 1.5}' '{"prompt": "sea"}' '{"frame": 1, "controls": {"wings": 1}}' \
             '{"frame": 1, "controls": {"yaw": 2}}' '{"frame": 1, "colour": 1}' '{"frame": 1, "prompt": ""}'; do
    printf '{"frame": 0}\n\n%s\n' "$event" > e.jsonl
    expect 65 '' "$render" -p sea -n 2 -o out.y4m --events e.jsonl
    grep -q 'e.jsonl: line 3: ' err || complain "no line number for $event: $(cat err)"
done
nothing_left 'bad content'

# ---- 69: what is not there
expect 69 '' "$render" --device cuda -p sea -o out.y4m
expect 69 'precision fp8 is not in this version' "$render" --precision fp8 -p sea -o out.y4m
nothing_left 'no device'

# ---- 73: outputs
printf 'keep' > out.y4m
expect 73 'out.y4m exists, -y replaces it' "$render" -p sea -n 2 -o out.y4m
[ "$(cat out.y4m)" = keep ] || complain 'an output was touched without -y'
expect 0 '' "$render" -p sea -n 2 -y -o out.y4m
[ "$(head -c 9 out.y4m)" = YUV4MPEG2 ] || complain '-y did not replace'
rm out.y4m
expect 73 'nowhere/' "$render" -p sea -n 2 -o nowhere/out.y4m
expect 73 'is a directory' "$render" -p sea -n 2 -y -o bad
if [ -e /dev/full ]; then
    timeout 60 "$render" -q -p sea -n 40 -o - > /dev/full 2> err
    [ $? -eq 73 ] || complain 'a full disk is not 73'
fi

# ---- 0: what is asked for, and order of sources
expect 0 '' "$render" --help
grep -q -- '--contact-sheet FILE' out || complain '--help does not list the options'
expect 0 '' "$serve" --version
grep -qx 'zoetrope-serve [0-9.]*' out || complain '--version'
frames() { grep -ao FRAME "$1" | wc -l; }
printf '{"frames": 3, "prompt": "sea", "steps": 1}' > c.json
expect 0 '' "$render" --config c.json -o out.y4m
[ "$(frames out.y4m)" -eq 3 ] || complain 'the file of --config is not read'
expect 0 '' env ZOETROPE_FRAMES=4 "$render" --config c.json -y -o out.y4m
[ "$(frames out.y4m)" -eq 4 ] || complain 'the environment does not come before the file'
expect 0 '' env ZOETROPE_FRAMES=4 "$render" --config c.json -n 5 -y -o out.y4m
[ "$(frames out.y4m)" -eq 5 ] || complain 'flags do not come before the environment'
expect 0 'ignored: unicorn' "$render" -p 'unicorn over the sea' -n 1 -y -o out.y4m
expect 0 '' "$render" -p 'unicorn' -n 1 -y -o out.y4m
grep -q 'no word of the prompt is known' err || complain 'nothing says that the default place is shown'
expect 0 '' "$render" -q -p 'unicorn' -n 1 -y -o out.y4m
[ -s err ] && complain '-q is not quiet'
expect 0 '' "$render" --log-format json -p 'unicorn over the sea' -n 1 -y -o out.y4m
grep -q '^{.*"message": *"ignored: unicorn".*}$' err || complain "--log-format json: $(cat err)"
expect 0 '' "$render" -p sea -n 7 -y -o out.y4m --progress p.txt --contact-sheet s.png
grep -qx 'frame=7' p.txt && [ "$(tail -n 1 p.txt)" = progress=end ] || complain "--progress: $(cat p.txt)"
[ "$(head -c 4 s.png | tail -c 3)" = PNG ] || complain 'no contact sheet'
# ---- what it was made with is in the container, and comes back as it was
if command -v ffprobe > /dev/null; then
    tag() { ffprobe -v error -show_entries format_tags="$2" -of default=nw=1:nk=1 "$1"; }
    for out in a.mp4 a.mkv a.webm a.mov; do
        prompt=$'sea "at" dusk, \\ grün; a=b\nsecond line'
        expect 0 "" "$render" -q -p "$prompt" -n 4 --seed 18446744073709551615 --steps 3 -o $out
        [ "$(tag $out title)" = "$prompt" ] || complain "$out: title $(tag $out title)"
        hash=$(tag $out comment | sed -n 's/.*"model_hash":"\([0-9a-f]\{16\}\)".*/\1/p')
        about=$'{"prompt":"sea \\"at\\" dusk, \\\\ grün; a=b\\nsecond line","seed":"18446744073709551615","steps":3,"model":"random"'
        [ "$(tag $out comment)" = "$about,\"model_hash\":\"$hash\",\"precision\":\"int8\",\"zoetrope\":\"$("$render" --version | awk '{ print $2 }')\"}" ] ||
            complain "$out: comment $(tag $out comment)"
        "$render" -q -p "$prompt" -n 4 --seed 1 --steps 3 -o b-$out; [ "$(tag b-$out comment)" != "$(tag $out comment)" ] || complain "$out: another seed, the same metadata"
    done
else
    echo "no ffprobe: metadata was not read back"
fi

if command -v ffmpeg > /dev/null; then
    ffmpeg -v error -i s.png -f null - 2> err || complain "the contact sheet is not a PNG: $(cat err)"
fi
rm -f out.*

# ---- the same seed gives the same frames, whatever the threads and however they leave
sum() { "$render" -q -p 'sea at night' -n 12 -o - "$@" | md5sum; }
first=$(sum --seed 5)
[ "$(sum --seed 5)" = "$first" ] || complain 'the same seed gave other frames'
[ "$(sum --seed 5 --threads 1)" = "$first" ] || complain 'one thread gives other frames'
[ "$(sum --seed 5 --threads 2)" = "$first" ] || complain 'two threads give other frames'
[ "$(sum --seed 6)" != "$first" ] || complain 'another seed gave the same frames'
"$render" -q -p 'sea at night' -n 12 --seed 5 -o out.y4m
[ "$(md5sum < out.y4m)" = "$first" ] || complain 'a file differs from stdout'
printf '{"frame": 6, "prompt": "volcano", "controls": {"yaw": 1}}\n' > e.jsonl
[ "$(sum --seed 5 --events e.jsonl)" != "$first" ] || complain 'events do nothing'
{ cat e.jsonl; printf '{"frame": 2, "prompt": "desert"}\n{"frame": 2, "prompt": "canyon"}\n'; } > sorted.jsonl
tac sorted.jsonl > reversed.jsonl       # of two for one frame the last line counts
printf '{"frame": 2, "prompt": "canyon"}\n' | cat - e.jsonl > wanted.jsonl
[ "$(sum --seed 5 --events sorted.jsonl)" = "$(sum --seed 5 --events wanted.jsonl)" ] || complain 'events: order of lines'
[ "$(sum --seed 5 --events reversed.jsonl)" != "$(sum --seed 5 --events wanted.jsonl)" ] || complain 'events: no order of lines'
seq 200000 -1 1 | sed 's/.*/{"frame": &}/' > many.jsonl
expect 0 '' timeout 20 "$render" -q -p sea -n 1 -o many.y4m --events many.jsonl
head=$((12 * $(stat -c %s out.y4m) / 12 / 3))
[ "$("$render" -q -p 'sea at night' -n 12 --seed 5 --events e.jsonl -o - 2> /dev/null | head -c $head | md5sum)" = \
  "$(head -c $head out.y4m | md5sum)" ] || complain 'events act before their frame'
rm -f out.*

# ---- interrupted: shorter but complete; killed: only .part
"$render" -p sea -n 1000000 -o out.y4m 2> err & pid=$!
until [ "$(stat -c %s out.y4m.part 2> /dev/null || echo 0)" -gt 100000 ]; do sleep 0.05; kill -0 $pid 2> /dev/null || break; done
kill -INT $pid; wait $pid; code=$?
[ $code -eq 75 ] || complain "SIGINT: exit $code, not 75"
[ -e out.y4m ] && [ ! -e out.y4m.part ] || complain 'SIGINT: not renamed'
bytes=$(stat -c %s out.y4m) n=$(frames out.y4m)
header=$(head -n 1 out.y4m | wc -c)
[ $bytes -eq $((header + n * (6 + 64 * 48 * 3 / 2))) ] || complain "SIGINT: $bytes bytes are not $n whole frames"
grep -q "interrupted: out.y4m is complete with $n of 1000000 frames" err || complain "SIGINT: $(cat err)"
rm -f out.*
"$render" -q -p sea -n 1000000 -o out.y4m & pid=$!
until [ -s out.y4m.part ]; do sleep 0.05; kill -0 $pid 2> /dev/null || break; done
kill -KILL $pid; wait $pid 2> /dev/null
[ ! -e out.y4m ] && [ -e out.y4m.part ] || complain 'SIGKILL: something has the final name'
rm -f out.*
mkfifo pipe.y4m
"$render" -q -p sea -n 10 -o pipe.y4m 2> err & pid=$!
for _ in $(seq 100); do grep -qs wait_for_partner "/proc/$pid/wchan" && break; sleep 0.1; done
kill -INT $pid; wait $pid; code=$?
[ $code -eq 75 ] || complain "SIGINT while a pipe has no reader: exit $code, not 75 ($(cat err))"
# A reader that stands still is waited for, but not after SIGINT; nor is one of the progress.
mkfifo stalled
sleep 60 < stalled & reader=$!
"$render" -q -p sea -n 1000000 --progress p.txt -o - > stalled 2> err & pid=$!
until grep -q progress= p.txt 2> /dev/null; do sleep 0.1; kill -0 $pid 2> /dev/null || break; done
sleep 0.5
kill -INT $pid
(sleep 30; kill -KILL $pid) 2> /dev/null & guard=$!
wait $pid; code=$?
kill $guard
[ $code -eq 75 ] || complain "SIGINT while the reader of a pipe stands still: exit $code, not 75 ($(cat err))"
grep -q 'its reader takes nothing' err && [ "$(wc -l < err)" -eq 1 ] || complain "a reader that stands still: $(cat err)"
timeout 60 "$render" -q -p sea -n 9 -y -o out.y4m --progress - > stalled 2> err & pid=$!
wait $pid || complain "a progress that nobody reads: $(cat err)"
kill $reader
rm -f out.*
timeout 60 "$render" -q -p sea -n 1000000 -o - 2> /dev/null | head -c 100000 > /dev/null
[ ${PIPESTATUS[0]} -eq 73 ] || complain 'a closed pipe is not 73'

# ---- serve: health, metrics, model, ports, end
if ! "$serve" --help | grep -q -- --listen || ! command -v curl > /dev/null; then
    exit $failed
fi
"$serve" --listen 127.0.0.1:0 --rtsp off > out 2> log & pid=$!
for _ in $(seq 600); do grep -q 'http://' log && break; kill -0 $pid 2> /dev/null || break; sleep 0.1; done
url=$(grep -o 'http://[0-9.:]*/' log | head -n 1)
if [ -z "$url" ]; then
    grep -q 'without libsoup' log && exit $failed
    complain "no URL: $(cat log)"
else
    [ "$(curl -s "${url}healthz")" = ok ] || complain 'healthz'
    curl -s "$url" | grep -q '/metrics' || complain 'the address that is printed says nothing'
    [ "$(curl -s -o /dev/null -w '%{http_code}' "${url}readyz")" = 200 ] || complain 'readyz'
    [ "$(curl -s -o /dev/null -w '%{http_code}' "${url}nothing")" = 404 ] || complain 'an unknown route is not 404'
    if command -v promtool > /dev/null; then
        curl -s "${url}metrics" | promtool check metrics >&2 || complain 'promtool does not like the metrics'
    fi
    [ "$(curl -s -o /dev/null -w '%{http_code}' -X DELETE "${url}metrics")" = 405 ] || complain 'DELETE is not 405'
    [ "$(curl -s -o /dev/null -w '%{http_code}' -H 'Host: evil.example' "${url}metrics")" = 421 ] || complain 'a foreign Host is not 421'
    curl -s "${url}model" | grep -q '"controls":\["yaw"' || complain "model: $(curl -s "${url}model")"
    curl -s "${url}metrics" > metrics
    for name in 'frames_total{outcome="on_time"}' 'stage_duration_seconds_bucket{stage="denoise",le="+Inf"}' \
                frame_latency_seconds_count prompt_to_frame_seconds_count time_to_first_frame_seconds_count sessions viewers \
                'quality_changes_total{reason="steps"}'; do
        grep -qF "zoetrope_$name" metrics || complain "metrics: no $name"
    done
    if command -v promtool > /dev/null; then promtool check metrics < metrics > out 2>&1 || complain "promtool: $(cat out)"; fi
    port=${url##*:}; port=${port%/}
    expect 69 "port $port" "$serve" --listen "127.0.0.1:$port" --rtsp off
fi
kill -TERM $pid; wait $pid; code=$?
[ $code -eq 0 ] || complain "SIGTERM: exit $code, not 0"

# ---- serve: a session comes with its first viewer
if command -v ffmpeg > /dev/null; then
    # GLib keeps memory of its own: no leak check here.
    ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 "$serve" --listen 127.0.0.1:0 --rtsp 127.0.0.1:0 -p sea -r 20 > out 2> log & pid=$!
    for _ in $(seq 600); do grep -q 'rtsp://' log && break; kill -0 $pid 2> /dev/null || break; sleep 0.1; done
    rtsp=$(grep -o 'rtsp://[0-9.:]*/live' log) url=$(grep -o 'http://[0-9.:]*/' log)
    if [ -n "$rtsp" ]; then
        curl -s "${url}metrics" | grep -qx 'zoetrope_sessions 0' || complain 'a session without a viewer'
        timeout 60 ffmpeg -v error -rtsp_transport tcp -i "$rtsp" -frames:v 30 -f framemd5 - 2> err < /dev/null > frames.md5
        [ "$(grep -vc '^#' frames.md5)" -eq 30 ] || complain "rtsp: $(grep -vc '^#' frames.md5) of 30 frames: $(cat err)"
        [ "$(grep -v '^#' frames.md5 | cut -d, -f6 | sort -u | wc -l)" -gt 5 ] || complain 'rtsp: a still picture'
        curl -s "${url}metrics" > metrics
        grep -qx 'zoetrope_sessions 1' metrics || complain 'no session for a viewer'
        # Each of the 30 has an outcome once it is due; on a busy machine not the best one.
        frames=$(awk '/^zoetrope_frames_total/ && !/dropped/ { n += $2 } END { print n + 0 }' metrics)
        [ "$frames" -ge 25 ] || complain "30 frames came, $frames are counted: $(grep ^zoetrope_frames_total metrics)"
        [ "$(curl -s -o /dev/null -w '%{http_code}' "${url}readyz")" = 200 ] || complain 'not ready with a viewer'
    elif ! grep -q 'built without' log; then
        complain "no rtsp: $(cat log)"
    fi
    kill -TERM $pid; wait $pid; code=$?
    [ $code -eq 0 ] || [ -z "$rtsp" ] || complain "SIGTERM with a session: exit $code, not 0"
fi

# ---- bench: the keys that are promised
"$bench" step --json --seconds 1 > out 2> err || complain "bench step: $(cat err)"
for key in device precision tokens cache jobs ms gops of_limit; do grep -q "\"$key\": " out || complain "bench step: no $key"; done
"$bench" stream --json --seconds 1 > out 2> err; code=$?
if [ $code -eq 0 ]; then
    for key in fps frames first_frame_ms rss_mb stages_ms denoise decode convert encode latency_ms outcomes on_time; do
        grep -q "\"$key\": " out || complain "bench stream: no $key"
    done
elif [ $code -ne 69 ]; then
    complain "bench stream: $(cat err)"
fi
for n in ${fail_encoder:+0 5}; do       # pictures before the encoder fails
    expect 69 'libx264 failed' env LD_PRELOAD="$fail_encoder" ZT_ENCODES=$n "$bench" stream --seconds 5
done
exit $failed

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Manifests: every bad line is refused by its number, every format decodes, and clips are the same bytes after whatever
# happens to the process that renders them.
# Usage: test_batch.sh RENDER MODEL CLIPS KILLS
set -u
render=$(realpath "$1") model=$(realpath "$2") clips=$3 kills=$4
export ZOETROPE_MODEL=$model LC_ALL=C
work=$(mktemp -d) || exit 2
export XDG_CACHE_HOME=$work/cache
trap 'kill $(jobs -p) 2> /dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 2
failed=0
complain() { printf 'FAIL: %.300s\n' "$1"; failed=1; }
expect() {          # CODE LINE WORDS...: the code, and a line on stderr that contains LINE
    local code=$1 line=$2; shift 2
    timeout $((120 + 6 * clips)) "$@" > stdout 2> stderr < /dev/null
    local got=$?
    [ $got -eq "$code" ] || complain "exit $got, not $code: $* ($(head -c 200 stderr))"
    [ -z "$line" ] || grep -qF -- "$line" stderr || complain "\"$line\" is not in \"$(cat stderr)\": $*"
}
same() { diff -r "$1" "$2" > /dev/null || complain "$3: $(diff -rq "$1" "$2" | head -3)"; }

# ---- bad manifests: the second line is wrong, nothing is written
good='{"id":"good","prompt":"sea"}'
table=0
while IFS='|' read -r reason line; do
    printf '%s\n%b\n' "$good" "$line" > bad.jsonl
    expect 65 "bad.jsonl: line 2: $reason" "$render" --manifest bad.jsonl -o out
    [ "$(wc -l < stderr)" -eq 1 ] || complain "$(wc -l < stderr) lines for $line"
    [ ! -e out ] || complain "something was written for $line"
    table=$((table + 1))
done <<'TABLE'
not JSON|{"id":"a","prompt":"sea"
not JSON|{"id":"a","prompt":"sea"} {}
not JSON|hello
not a JSON object|[1]
not a JSON object|"sea"
not a JSON object|null
"id" is missing|{"prompt":"sea"}
"id": not 1 to 100|{"id":"","prompt":"sea"}
"id": not 1 to 100|{"id":"../a","prompt":"sea"}
"id": not 1 to 100|{"id":"a/b","prompt":"sea"}
"id": not 1 to 100|{"id":".a","prompt":"sea"}
"id": not 1 to 100|{"id":7,"prompt":"sea"}
"id": "good" is the id of line 1|{"id":"good","prompt":"sea"}
"id": given twice|{"id":"a","id":"b","prompt":"sea"}
"version": a newer program is needed|{"id":"a","prompt":"sea","version":2}
"version": out of range|{"id":"a","prompt":"sea","version":0}
"version": not a whole number|{"id":"a","prompt":"sea","version":"1"}
"colour": an unknown key|{"id":"a","prompt":"sea","colour":1}
"Prompt": an unknown key|{"id":"a","Prompt":"sea"}
"prompt" is missing|{"id":"a"}
"prompt": empty|{"id":"a","prompt":" "}
"prompt": not a string|{"id":"a","prompt":7}
"prompt": not UTF-8|{"id":"a","prompt":"\0377"}
"seed": not a whole number|{"id":"a","prompt":"sea","seed":-1}
"seed": not a whole number|{"id":"a","prompt":"sea","seed":1.5}
"seed": not a whole number|{"id":"a","prompt":"sea","seed":18446744073709551615}
"seed": not a number below 2^64|{"id":"a","prompt":"sea","seed":"18446744073709551616"}
"frames": out of range|{"id":"a","prompt":"sea","frames":0}
"frames": not a whole number|{"id":"a","prompt":"sea","frames":"30"}
"fps": out of range|{"id":"a","prompt":"sea","fps":61}
"size": not WIDTHxHEIGHT|{"id":"a","prompt":"sea","size":"64"}
"size": not WIDTHxHEIGHT|{"id":"a","prompt":"sea","size":64}
"size": width and height must be even|{"id":"a","prompt":"sea","size":"65x48"}
"size": width and height must be even|{"id":"a","prompt":"sea","size":"9000x48"}
"steps": out of range|{"id":"a","prompt":"sea","steps":65}
"model": not a file name|{"id":"a","prompt":"sea","model":""}
"precision": not a precision|{"id":"a","prompt":"sea","precision":"int7"}
"format": not a format|{"id":"a","prompt":"sea","format":"avi"}
"codec": not a codec|{"id":"a","prompt":"sea","codec":"h263"}
the format does not take the codec|{"id":"a","prompt":"sea","format":"webm","codec":"h264"}
y4m and png have no codec|{"id":"a","prompt":"sea","format":"y4m","codec":"h264"}
"crf": out of range|{"id":"a","prompt":"sea","crf":64}
"bitrate": out of range|{"id":"a","prompt":"sea","bitrate":12}
"crf" and "bitrate" exclude each other|{"id":"a","prompt":"sea","crf":20,"bitrate":100000}
"sheet": not true or false|{"id":"a","prompt":"sea","sheet":1}
"controls": not an object|{"id":"a","prompt":"sea","controls":[]}
"controls": a control is not a number|{"id":"a","prompt":"sea","controls":{"yaw":2}}
the model does not have the control "nose"|{"id":"a","prompt":"sea","controls":{"nose":0.5}}
"prompts": not a list|{"id":"a","prompts":{}}
"prompts": the first is not at frame 0|{"id":"a","prompts":[]}
"prompts": the first is not at frame 0|{"id":"a","prompts":[{"at_frame":3,"text":"sea"}]}
"prompts": an entry has no text|{"id":"a","prompts":[{"at_frame":0}]}
"prompts": an entry has an unknown key|{"id":"a","prompts":[{"at_frame":0,"text":"sea","x":1}]}
"prompt" and "prompts" exclude each other|{"id":"a","prompt":"sea","prompts":[{"at_frame":0,"text":"sea"}]}
"events": an entry has no frame|{"id":"a","prompt":"sea","events":[{"prompt":"sea"}]}
"events": an entry's frame is not a whole number|{"id":"a","prompt":"sea","events":[{"frame":-1}]}
"replay" has its own prompts|{"id":"a","prompt":"sea","replay":"x"}
TABLE
[ $table -ge 40 ] || complain "only $table bad manifests"
printf '\n\n' > bad.jsonl
expect 65 "no clips" "$render" --manifest bad.jsonl -o out
expect 66 "" "$render" --manifest none.jsonl -o out
echo "$good" > one.jsonl
expect 64 "is not in 0..0" "$render" --manifest one.jsonl --index 1 -o out
expect 64 "is not A or A-B" "$render" --manifest one.jsonl --index 1-0 -o out
expect 64 "not by options" "$render" --manifest one.jsonl -n 3 -o out
expect 73 "No such file" "$render" --manifest one.jsonl -o none/out
expect 73 "is not a directory" "$render" --manifest one.jsonl -o one.jsonl
echo '{"version": 1, "id": "a", "prompt": "sea"}' > version.jsonl
expect 0 "" "$render" --manifest version.jsonl --check
expect 0 "" "$render" --manifest one.jsonl --check
grep -q '^{"clips": 1, "frames": 240, "seconds": [0-9.]*, "bytes": [1-9][0-9]*}$' stdout || complain "--check: $(cat stdout)"

# ---- SVT-AV1 many times at once, opened and closed for every chunk
for i in $(seq 12); do
    echo "{\"id\":\"av1-$i\",\"prompt\":\"sea\",\"frames\":24,\"codec\":\"av1\"}"
done > av1.jsonl
for i in 1 2 3 4; do
    expect 0 "" "$render" --manifest av1.jsonl -o "av1-$i" --chunk 3
done

# ---- formats: three chunks each
# every codec in every container that takes it, and those without
line() { printf '{"id":"%s-%s","prompt":"desert \\"at\\" noon, größer & <b>","frames":30,"seed":"18446744073709551615","steps":3%s}\n' "$1" "$2" "$3"; }
while read -r format codecs; do
    for codec in $codecs; do line "$codec" "$format" ",\"format\":\"$format\",\"codec\":\"$codec\""; done
done > formats.jsonl <<'LINES'
mp4 h264 h265 vp9 av1
mkv h264 h265 vp9 av1 vp8 ffv1 prores
webm vp9 av1 vp8
mov h264 h265 prores
LINES
line none y4m ',"format":"y4m"' >> formats.jsonl
line none png ',"format":"png","sheet":true' >> formats.jsonl
expect 0 "" "$render" --manifest formats.jsonl -o formats --chunk 12 --progress progress
tail -1 progress | grep -qx progress=end || complain "progress ends with $(tail -1 progress)"
expect 0 "" "$render" --manifest formats.jsonl -o formats --collect
[ "$(ls formats/none-png | wc -l)" -eq 30 ] || complain "$(ls formats/none-png | wc -l) pictures"
[ -s formats/none-png.sheet.png ] || complain "no contact sheet"
if command -v ffmpeg > /dev/null; then
    n=$(ffmpeg -v error -xerror -pattern_type glob -i 'formats/none-png/*.png' -f framecrc - 2> stderr | grep -vc '^#')
    [ "$n" = 30 ] && [ ! -s stderr ] || complain "PNG: $n pictures: $(head -3 stderr)"
    ffmpeg -v error -xerror -i formats/none-png.sheet.png -f null - 2> stderr && [ ! -s stderr ] || complain "the contact sheet: $(head -3 stderr)"
fi
if command -v ffprobe > /dev/null && command -v ffmpeg > /dev/null; then
    for f in formats/*.{mp4,mkv,webm,mov,y4m}; do
        ffmpeg -v error -xerror -i "$f" -f null - 2> stderr || complain "$f: $(head -3 stderr)"
        [ ! -s stderr ] || complain "$f: $(head -3 stderr)"
        n=$(ffprobe -v error -count_frames -show_entries stream=nb_read_frames -of csv=p=0 "$f")
        [ "$n" = 30 ] || complain "$f: $n frames"
        # every picture a frame's time after the one before, over the seams too
        ffprobe -v error -show_entries frame=pts_time -of csv=p=0 "$f" |
            awk 'NF == 0 { next } n++ && ($1 - last < 0.040 || $1 - last > 0.044) { bad = 1 } { last = $1 } END { exit bad }' ||
            complain "$f: times are uneven"
        # another player, by its own demuxer where it has one
        ! command -v mpv > /dev/null || { mpv --no-config --really-quiet --of=framecrc --ovc=rawvideo --o=crc "$f" > stderr 2>&1 &&
            [ "$(grep -vc '^#' crc)" = 30 ]; } || complain "mpv: $f: $(head -3 stderr)"
        [ "${f##*.}" = y4m ] || ffprobe -v error -show_entries format_tags=title,comment -of json "$f" > "meta-${f##*/}.json"
    done
    ls formats/*.{mp4,mkv,webm,mov,y4m} | wc -l | sed 's/$/ formats with ffmpeg/'
    python3 - formats meta-*.json <<'PYTHON' || complain "the metadata is not what was asked for"
import json, sys
for name in sys.argv[2:]:
    with open(name) as f:
        tags = {k.lower(): v for k, v in json.load(f)['format']['tags'].items()}
    clip = name[5:-5]
    with open(f"{sys.argv[1]}/{clip.rsplit('.', 1)[0]}.json") as f:
        mark = json.load(f)
    said = json.loads(tags['comment'])
    wanted = {'id': clip.rsplit('.', 1)[0], 'prompt': 'desert "at" noon, größer & <b>', 'seed': '18446744073709551615', 'steps': 3}
    bad = {k: (said.get(k), v) for k, v in wanted.items() if said.get(k) != v} | {k: (v, mark.get(k)) for k, v in said.items() if mark.get(k) != v}
    if bad or tags['title'] != wanted['prompt'] or len(said['model_hash']) != 16 or 'precision' not in said:
        sys.exit(f'{clip}: {bad} {tags}')
PYTHON
    [ "$(ls meta-*.json | wc -l)" = 17 ] || complain "$(ls meta-*.json | wc -l) files with metadata"
else
    echo "no ffmpeg: the formats were not decoded"
fi

# ---- what is there is kept, or refused, or replaced
printf '{"id":"%s","prompt":"sea","frames":24,"seed":%d}\n' a 1 b 2 > two.jsonl
expect 0 "" "$render" --manifest two.jsonl -o two
cp -r two first
expect 73 "--resume keeps it" "$render" --manifest two.jsonl -o two
expect 0 "" "$render" --manifest two.jsonl -o two --resume
expect 0 "" "$render" --manifest two.jsonl -o two -y
same first two "-y"
sed -i 's/"seed":2/"seed":3/' two.jsonl
expect 73 "line 2: two/b.mp4" "$render" --manifest two.jsonl -o two --resume
expect 65 "b: was rendered from another line" "$render" --manifest two.jsonl -o two --collect
expect 0 "" "$render" --manifest two.jsonl -o two --resume -y
cmp -s two/b.mp4 first/b.mp4 && complain "another seed, the same file"
printf x >> two/a.mp4
expect 65 "a: is not what was written" "$render" --manifest two.jsonl -o two --collect
rm two/a.json
expect 75 "a: not done" "$render" --manifest two.jsonl -o two --collect

# ---- many clips: killed, and as if nothing had happened
for i in $(seq "$clips"); do printf '{"id":"clip%d","prompt":"sea at dawn","frames":%d,"seed":%d}\n' "$i" $((6 + i % 13)) "$i"; done > many.jsonl
expect 0 "" "$render" --manifest many.jsonl -o whole --chunk 5
expect 0 "" "$render" --manifest many.jsonl -o single --chunk 5 --jobs 1
same whole single "one at a time"
started=$(date +%s%N)
"$render" -q --manifest many.jsonl -o timed --chunk 5 || complain "timed"
ms=$((($(date +%s%N) - started) / 1000000))
killed=0
for try in $(seq $((kills * 5))); do
    [ $killed -lt "$kills" ] || break
    "$render" -q --manifest many.jsonl -o killed --chunk 5 --resume 2> stderr & pid=$!
    sleep "$(awk -v ms=$ms -v kills="$kills" -v seed="$RANDOM" 'BEGIN { srand(seed); print 0.02 + rand() * ms / 1000 * 2 / kills }')"
    if kill -9 $pid 2> /dev/null; then killed=$((killed + 1)); fi
    wait $pid 2> /dev/null
    [ "$(ls killed/*.json 2> /dev/null | wc -l)" -lt "$clips" ] || { [ $killed -ge "$kills" ] || rm -rf killed/clip$((RANDOM % clips + 1)).*; }
done
[ $killed -eq "$kills" ] || complain "killed $killed times, not $kills"
expect 0 "" "$render" --manifest many.jsonl -o killed --chunk 5 --resume
same whole killed "after $kills kills"
[ "$(ls -A killed | wc -l)" -eq $((2 * clips)) ] || complain "$(ls -A killed | wc -l) files for $clips clips"

# ---- one long clip: killed, it goes on inside; a state that is broken or from tomorrow costs work only
printf '{"id":"long","prompt":"sea at dawn","frames":900,"steps":4,"sheet":true,"events":[%s,%s,%s]}\n' '{"frame":50,"controls":{"yaw":0.7}}' \
    '{"frame":130,"prompt":"volcano at night"}' '{"frame":300,"controls":{"yaw":-1},"prompt":"sea"}' > long.jsonl
expect 0 "" "$render" --manifest long.jsonl -o long-whole --chunk 30
# begin DIR: killed once a chunk more is there, with its state
begin() {
    "$render" -v --manifest long.jsonl -o "$1" --chunk 30 --resume 2> stderr & pid=$!
    local before
    before=$(find "$1/.long" -name 'state-*[0-9]' 2> /dev/null)
    until [ "$(find "$1/.long" -name 'state-*[0-9]' 2> /dev/null)" != "$before" ] || ! kill -0 $pid 2> /dev/null; do sleep 0.002; done
    kill -9 $pid 2> /dev/null || complain "$1: it was quicker than the kill"
    wait $pid 2> /dev/null
}
at=0
for i in 1 2 3 4 5; do
    begin long-killed
    now=$(sed -n 's/.*clip long: goes on with frame //p' stderr)
    [ $i -eq 1 ] || [ "${now:-0}" -gt $at ] || complain "after kill $((i - 1)) it goes on with frame ${now:-0}, not after $at"
    at=${now:-0}
done
expect 0 "" "$render" --manifest long.jsonl -o long-killed --chunk 30 --resume
same long-whole long-killed "a long clip after 5 kills"
begin long-bad
state=$(find long-bad/.long -name 'state-*[0-9]' | sort | tail -1)
cp "$state" state
# spoil OFFSET BYTES LINE
spoil() {
    cp state "$state"
    printf "$2" | dd of="$state" bs=1 seek="$1" conv=notrunc 2> /dev/null
    cp -r long-bad spoilt
    "$render" --manifest long.jsonl -o spoilt --chunk 30 --resume 2> stderr || complain "a spoilt state: exit $?"
    grep -qF "$3" stderr && grep -q 'is of no use' stderr || complain "a spoilt state: $(head -3 stderr)"
    same long-whole spoilt "a spoilt state"
    rm -r spoilt
}
spoil 32 '\002' 'version 2 is newer than this program, which reads up to 1'
spoil 2000 'spoilt' 'it is broken'
spoil 8 '\001' 'is of no use'
: > "$state"
expect 0 "is of no use" "$render" --manifest long.jsonl -o long-bad --chunk 30 --resume
same long-whole long-bad "an empty state"

# ---- SIGTERM: 75 at once, then to the same end
"$render" --manifest many.jsonl -o term --chunk 5 2> stderr & pid=$!
while ! ls term/.clip*/plan.json > /dev/null 2>&1 && kill -0 $pid 2> /dev/null; do sleep 0.01; done
started=$(date +%s)
kill -TERM $pid; wait $pid; code=$?
[ $code -eq 75 ] || complain "SIGTERM: exit $code"
[ $(($(date +%s) - started)) -le 10 ] || complain "SIGTERM took $(($(date +%s) - started)) s"
expect 0 "" "$render" --manifest many.jsonl -o term --chunk 5 --resume
same whole term "after SIGTERM"

# ---- a disk that is full, a directory that is gone, another process
printf '{"id":"big","prompt":"sea","frames":2000,"format":"y4m"}\n' > big.jsonl
(ulimit -f 200; exec "$render" --manifest big.jsonl -o full) 2> stderr
code=$?
[ $code -eq 73 ] || complain "a full disk: exit $code ($(cat stderr))"
cat > on-small-disk <<'SCRIPT'
# RENDER CLIPS: a disk that fills up; what is complete there stays as it is, and with room the rest comes to the same end.
mount -t tmpfs -o size=600k small disk || exit 77
"$1" --manifest many.jsonl -o disk/out --chunk 5 2> stderr; code=$?
done=$(ls disk/out/*.json 2> /dev/null | wc -l)
echo "a full disk: exit $code, $done of $2 clips: $(tail -n 1 stderr)"
[ $code = 73 ] && grep -q 'No space left' stderr && [ "$done" -gt 0 ] && [ "$done" -lt "$2" ] || exit 1
for mark in disk/out/*.json; do
    cmp "$mark" "whole/${mark##*/}" && cmp "${mark%.json}.mp4" "whole/$(basename "$mark" .json).mp4" || exit 1
done
mount -o remount,size=100m disk && "$1" --manifest many.jsonl -o disk/out --chunk 5 --resume || exit 1
diff -r whole disk/out
SCRIPT
mkdir disk
unshare -rm bash on-small-disk "$render" "$clips" > small-disk 2>&1; code=$?
cat small-disk
if [ $code -ne 0 ] && ! grep -q '^a full disk' small-disk; then
    echo "no namespaces with a tmpfs here: a really full disk was not tried"
elif [ $code -ne 0 ]; then
    complain "a really full disk: $(cat small-disk)"
fi
"$render" --manifest big.jsonl -o gone 2> stderr & pid=$!
while [ ! -e gone/.big/plan.json ] && kill -0 $pid 2> /dev/null; do sleep 0.01; done
rm -rf gone; wait $pid; code=$?
[ $code -eq 73 ] || complain "a directory that is gone: exit $code ($(cat stderr))"
"$render" --manifest big.jsonl -o both 2> stderr & pid=$!
while [ ! -e both/.big/plan.json ] && kill -0 $pid 2> /dev/null; do sleep 0.01; done
expect 75 "process $pid is rendering it" "$render" --manifest big.jsonl -o both --resume
kill $pid; wait $pid
exit $failed

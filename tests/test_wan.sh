#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A Wan directory with random weights and a UMT5 encoder is rendered and served as the shipped model is; a prompt is encoded
# once for each encoder; so does a diffusers directory of two transformers with UniPC and guidance, and what convert makes of it.
#   test_wan.sh ZOETROPE_RENDER ZOETROPE_SERVE MAKE_WAN TESTS_FOLDER ZOETROPE_MODEL
set -u
render=$(realpath "$1") serve=$(realpath "$2") make_wan=$(realpath "$3") tests=$(realpath "$4") model=$(realpath "$5")
work=$(mktemp -d) || exit 2
cd "$work" || exit 2
server=
trap 'kill $server 2> /dev/null; rm -rf "$work"' EXIT
export ZOETROPE_CACHE=$work/cache
failed=0
complain() { echo "FAIL: $1" >&2; failed=1; }
same() { cmp -s "$1" "$2" || complain "$1 and $2 differ"; }
differ() { ! cmp -s "$1" "$2" || complain "$1 and $2 are the same"; }
cached() { find cache/text -name '*.safetensors' 2> /dev/null | wc -l; }
count() { [ "$(cached)" = "$1" ] || complain "$(cached) prompts are kept, not $1"; }

# make DIR SEED: as the publisher lays it out, with a small quick decoder
make() {
    "$make_wan" --size small --text small --seed "$2" "$1" && mkdir "$1/tokenizer" &&
        cp "$tests/tokenizer/spiece.model" "$1/tokenizer" && cp "$tests/golden/taehv-decode/taew2_1.pth" "$1" &&
        sed -i '1s/{/{ "width": 96, "height": 64, "window_frames": 9, "steps": 2,/' "$1/config.json" || exit 1
}
make wan 1
make other 2
run() { "$render" -q -y "$@" 2> err || complain "$*: $(cat err)"; }

"$render" -q -m wan -p "mountains at sunset" -n 13 -o a.y4m 2> err
code=$?
grep -q "libsentencepiece" err && { cat err; exit 77; }
[ $code = 0 ] || complain "exit $code: $(cat err)"
[ "$(stat -c %s a.y4m)" -gt $((13 * 96 * 64 * 3 / 2)) ] || complain "fewer than 13 pictures"
count 1

# the second time the rows come from the cache, in the same bits; what is kept counts, and only for its prompt and encoder
run -m wan -p "mountains at sunset" -n 13 -o b.y4m
same a.y4m b.y4m
count 1
file=$(find cache/text -name '*.safetensors')
cp "$file" kept
printf '\000\000\000\107' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") - 4000)) conv=notrunc 2> err
run -m wan -p "mountains at sunset" -n 13 -o touched.y4m
differ a.y4m touched.y4m
head -c 1000 kept > "$file"                     # half a file is none
run -m wan -p "mountains at sunset" -n 13 -o b.y4m
same a.y4m b.y4m
cp kept "$file"
run -m wan -p "fog at night" -n 13 -o fog.y4m
differ a.y4m fog.y4m
count 2
run -m other -p "mountains at sunset" -n 13 -o other.y4m
differ a.y4m other.y4m
count 3
run -m wan -p "mountains at sunset" -n 13 --precision f32 -o f32.y4m
count 4
ZOETROPE_CACHE=/proc/nowhere run -m wan -p "mountains at sunset" -n 13 -o b.y4m         # no cache, no matter
same a.y4m b.y4m

# what is said of the shipped model holds here: seeds, prompts on the way, the other decoder
run -m wan -p "mountains at sunset" --seed 5 -n 13 -o seed.y4m
differ a.y4m seed.y4m
echo '{"frame": 2, "prompt": "fog at night"}' > events
run -m wan -p "mountains at sunset" --events events -n 25 -o events.y4m
run -m wan -p "mountains at sunset" -n 25 -o plain.y4m
cmp events.y4m plain.y4m > where                # the second chunk ends with picture 21
[ "$(awk '{ print int($5 / (96 * 64 * 3 / 2)) }' where)" = 21 ] || complain "the new prompt shows here: $(cat where)"
rm wan/taew2_1.pth
cp "$tests/golden/vae-decode-safetensors/wan_2.1_vae.safetensors" wan
run -m wan -p "mountains at sunset" -n 13 -o vae.y4m
differ a.y4m vae.y4m
cp "$tests/golden/taehv-decode/taew2_1.pth" wan

# a diffusers directory of two transformers
mkdir pair
mv other/text_encoder other/tokenizer other/taew2_1.pth pair
mv other pair/transformer_2
"$make_wan" --size small --seed 3 pair/transformer
sed -i '1s/{/{ "sampler": "unipc", "guidance": 3, "guidance_high": 4, "negative_prompt": "fog",/; s/"steps": 2/"steps": 5/' pair/transformer_2/config.json
echo '{"boundary_ratio": 0.9}' > pair/model_index.json
run -m pair -p "mountains at sunset" -n 13 -o pair.y4m
run -m pair -p "mountains at sunset" -n 13 -o again.y4m
same pair.y4m again.y4m
sed -i 's/0\.9/0.97/' pair/model_index.json
run -m pair -p "mountains at sunset" -n 13 -o again.y4m
differ pair.y4m again.y4m
"$model" convert pair pair8 --quant int8 2> err || complain "convert pair: $(cat err)"
[ "$(find pair8 -type f | wc -l)" = 5 ] || complain "of a pair: $(find pair8 -type f)"
"$model" convert pair pair8 --quant int8 2> err && complain "a pair that is there was written over"
ln -s ../pair/text_encoder ../pair/tokenizer ../pair/taew2_1.pth pair8/
run -m pair --precision int8 -p "mountains at sunset" -n 13 -o int8.y4m
run -m pair8 --precision int8 -p "mountains at sunset" -n 13 -o converted.y4m
same int8.y4m converted.y4m
differ int8.y4m again.y4m

# whole clips of 21 latents, as undistilled models make them: the first has 81 pictures, others 84
cp -r wan clip
sed -i '1s/"window_frames": 9/"chunk_frames": 21, "window_frames": 21, "sampler": "unipc"/' clip/config.json
run -m clip -p "mountains at sunset" -n 100 -o clip.y4m
[ "$(stat -c %s clip.y4m)" -gt $((100 * 96 * 64 * 3 / 2)) ] || complain "fewer than 100 pictures"

# clips that are killed go on inside, between model frames of several pictures; with every decoder, and two transformers
resumed() {         # MODEL FRAMES CHUNK
    echo "{\"id\":\"a\",\"prompt\":\"mountains at sunset\",\"frames\":$2,\"format\":\"y4m\",\"events\":[{\"frame\":3,\"prompt\":\"fog at night\"}]}" > one.jsonl
    rm -rf batch-whole batch-killed
    run -m "$1" --manifest one.jsonl -o batch-whole --chunk "$3"
    "$render" -q -m "$1" --manifest one.jsonl -o batch-killed --chunk "$3" 2> err & local pid=$!
    until compgen -G 'batch-killed/.a/state-*[0-9]' > /dev/null || ! kill -0 $pid 2> /dev/null; do sleep 0.005; done
    kill -9 $pid 2> /dev/null; wait $pid 2> /dev/null
    "$render" -v -m "$1" --manifest one.jsonl -o batch-killed --chunk "$3" --resume 2> err || complain "resume $1: $(tail -n 2 err)"
    [ "$(grep -c 'goes on with frame' err)" = 1 ] || echo "$1: it was quicker than the kill"
    diff -r batch-whole batch-killed || complain "$1: resumed, and something else"
}
resumed wan 90 5
resumed pair 90 15
cp -r wan vae && rm vae/taew2_1.pth && cp "$tests/golden/vae-decode-safetensors/wan_2.1_vae.safetensors" vae
resumed vae 50 7

# served, and what was seen made again
command -v curl > /dev/null || { echo "no curl to watch with"; exit $((failed ? 1 : 77)); }
mkdir logs
"$serve" -m wan -p "mountains at sunset" --rtsp off --listen 127.0.0.1:0 --log-sessions logs 2> log &
server=$!
for _ in $(seq 300); do grep -q 'http://' log && break; sleep 0.1; done
http=$(grep -o 'http://[^ ]*' log)
[ -n "$http" ] || { cat log; exit 77; }
curl -s "${http}model" | grep -q '"size": *"96x64"' || complain "/model says $(curl -s "${http}model")"
curl -s -H 'Content-Type: application/json' -d '{"prompt": "fog at night"}' "${http}sessions" > session
id=$(grep -o '"id": *"[^"]*"' session | cut -d'"' -f4)
[ -n "$id" ] || complain "no session: $(cat session)"
for _ in $(seq 300); do
    [ "$(curl -s "${http}metrics" | awk '/^zoetrope_frames_total/ && !/dropped/ { n += $2 } END { print n + 0 }')" -gt 30 ] && break
    sleep 0.1
done
curl -s -X PATCH -H 'Content-Type: application/json' -d '{"prompt": "mountains"}' "${http}sessions/$id" > patched
sleep 2
curl -s -X DELETE "${http}sessions/$id" > deleted
kill $server
wait $server || complain "serve: exit $?, $(tail -n 2 log)"
line=$(find logs -name '*.jsonl' | head -n 1)
[ -n "$line" ] && [ "$(wc -l < "$line")" -gt 4 ] || { complain "no log of the session: $(tail -n 3 log)"; exit 1; }
grep -q '"prompt": *"fog at night"' "$line" || complain "the log has no prompt"
run -m wan --replay "$line" -o r1.y4m
run -m wan --replay "$line" -o r2.y4m
same r1.y4m r2.y4m
exit $failed

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# zoetrope-model: exit codes, info, convert.
#   test_model_cli.sh ZOETROPE_MODEL MAKE_MODEL TESTS_FOLDER
set -u
model=$1 make_model=$2 tests=$3
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
failed=0

# expect CODE WORDS... : runs zoetrope-model; stderr has at most one line unless it is the usage
expect() {
    local want=$1; shift
    "$model" "$@" > "$work/out" 2> "$work/err"
    local code=$?
    if [ "$code" != "$want" ] || { [ "$code" != 0 ] && [ "$(wc -l < "$work/err")" != 1 ]; }; then
        echo "$*: exit $code, not $want: $(head -n 3 "$work/err")" >&2
        failed=1
    fi
}
says() { grep -q -- "$1" "$work/out" || { echo "no '$1' in: $(cat "$work/out")" >&2; failed=1; }; }

expect 64
expect 64 info
expect 64 nothing here
expect 64 --precision f64 info "$tests/malformed/00-control"
ZOETROPE_KERNELS=sse9 expect 64 info "$tests/malformed/00-control"
ZOETROPE_KERNELS=sse9 expect 64 check "$tests/golden/tokens"
expect 66 info "$work/nothing"
expect 66 info "$tests/malformed/24-folder-without-config"
expect 65 info "$tests/malformed/12-duplicate-name"
expect 65 info "$tests/malformed/18-config-nan"
expect 0 info "$tests/malformed/00-control"
says '"parameters": 1952'
says "\"file_bytes\": $(stat -c %s "$tests/malformed/00-control/diffusion_pytorch_model.safetensors"),"
# an autoencoder that lacks a tensor
cp -r "$tests/golden/vae-decode-safetensors" "$work/48" && chmod -R u+w "$work/48"
expect 0 check "$work/48"
cp "$tests/malformed/48-vae-missing-tensor/vae.safetensors" "$work/48/wan_2.1_vae.safetensors"
expect 65 check "$work/48"
grep -q "wan_2.1_vae.safetensors: tensor 'decoder.middle.0.residual.2.weight' is missing" "$work/err" || { cat "$work/err" >&2; failed=1; }
expect 66 check "$work"
expect 0 check "$tests/golden/moe-8-2-shared"
expect 0 check "$tests/golden/dit-diffusers" --precision bf16

# a wrong expectation fails
cp -r "$tests/golden/tokens" "$work/tokens" && chmod -R u+w "$work/tokens"
printf '\377\377\377\076' | dd of="$work/tokens/io.safetensors" bs=1 seek=$(($(stat -c %s "$work/tokens/io.safetensors") - 4)) conv=notrunc 2> "$work/err"
"$model" check "$work/tokens" > "$work/out" 2> "$work/err"
[ $? = 65 ] && grep -q FAIL "$work/out" || { echo "a wrong expectation passed" >&2; failed=1; }

# f32 to int8 is what make_model --quant int8 writes, and back to bf16 is a model again
small="--dim 64 --heads 2 --layers 2 --experts 4 --inter 40 --size 96x64 --seed 3"
"$make_model" $small --quant f32 "$work/f32" && "$make_model" $small --quant int8 "$work/int8" || exit 1
expect 0 convert "$work/f32" "$work/converted" --quant int8
expect 0 info "$work/converted"
says '"precision": "int8"'
hash=$(grep -o '"hash": "[0-9a-f]*"' "$work/out")
expect 0 info "$work/int8"
says "$hash"
# what sees the ground is left as it is
"$make_model" $small --ground 1 --quant f32 "$work/ground" && "$make_model" $small --ground 1 --quant int8 "$work/ground8" || exit 1
expect 0 convert "$work/ground" "$work/ground-converted" --quant int8
expect 0 info "$work/ground-converted"
ground=$(grep -o '"hash": "[0-9a-f]*"' "$work/out")
expect 0 info "$work/ground8"
says "$ground"
sed -i 's/"depths": 72/"depths": 40/' "$work/ground/config.json"
expect 65 info "$work/ground"
grep -q "depths are 36 or 72" "$work/err" || { echo "depths: $(cat "$work/err")" >&2; failed=1; }
expect 73 convert "$work/f32" "$work/converted"
expect 0 convert -y "$work/f32" "$work/converted"
expect 0 convert "$work/int8" "$work/bf16" --quant bf16
expect 0 info "$work/bf16"
says '"precision": "bf16"\|"precision": "f32"'
expect 0 convert -y "$work/bf16" "$work/bf16"          # in place
expect 0 info "$work/bf16"
expect 0 convert "$work/int8" "$work/int4" --quant int4
expect 0 info "$work/int4"
says '"precision": "int4"'
parameters=$(grep -o '"parameters": [0-9]*' "$work/out")
expect 0 info "$work/int8"
says "$parameters"
for to in int8 bf16; do
    expect 0 convert "$work/int4" "$work/from-int4-$to" --quant $to
    expect 0 info "$work/from-int4-$to"
    says "$parameters"
    says "\"precision\": \"\($to\|f32\)\""
done
expect 0 convert "$work/f32" "$work/fp8" --quant fp8
expect 0 info "$work/fp8"
expect 0 convert "$work/fp8" "$work/fp8-int8" --quant int8
expect 0 info "$work/fp8-int8"

# shards, torch.save and GGUF become one file; a configuration that names the index names the file afterwards
mkdir "$work/shards"
cp "$tests/golden/dit-diffusers/transformer/"* "$work/shards" && chmod -R u+w "$work/shards"
sed -i '1s/{/{ "weights": "diffusion_pytorch_model.safetensors.index.json",/' "$work/shards/config.json"
expect 0 convert "$work/shards" "$work/joined" --quant bf16
expect 0 info "$work/joined"
for from in self_forcing.pt tiny.gguf; do
    expect 0 convert "$tests/malformed/00-control/$from" "$work/from-$from" --quant int8
    expect 0 info "$work/from-$from"
    says '"parameters": 1952'
done
expect 66 convert "$work/nothing" "$work/other"
[ ! -e "$work/other" ] || { echo "an output without an input" >&2; failed=1; }

# what a model calls its controls is text like any other
sed -i 's/"yaw"/"ya\\"w"/' "$work/f32/config.json"
expect 0 info "$work/f32"
says '"controls": \["ya\\"w", "pitch"'

# an I8 matrix means nothing without its scales
mkdir "$work/no-scales" && cp "$work/int8/config.json" "$work/no-scales"
sed 's/q\.weight_scale/q.weight_saele/g' "$work/int8/random.safetensors" > "$work/no-scales/random.safetensors"
expect 65 convert "$work/no-scales" "$work/garbage" --quant bf16
[ ! -e "$work/garbage" ] || { echo "an output of I8 without scales" >&2; failed=1; }

mkdir "$work/no-factors" && cp "$work/int4/config.json" "$work/no-factors"
sed 's/q\.weight_factor/q.weight_fextor/g' "$work/int4/random.safetensors" > "$work/no-factors/random.safetensors"
expect 65 info "$work/no-factors"
expect 65 convert "$work/no-factors" "$work/garbage" --quant int8

# a configuration alone cannot make it take memory (sanitizers cannot run like this)
limited() { (ulimit -v 100000; "$model" --threads 1 info "$1" > "$work/out" 2> "$work/err"); }
if limited "$work/int8"; then
    mkdir "$work/wide" && cp "$work/int8/random.safetensors" "$work/wide"
    sed 's/"dim": 64/"dim": 65536/; s/"in_dim": 50, "out_dim": 16/"in_dim": 254, "out_dim": 84/' "$work/int8/config.json" > "$work/wide/config.json"
    limited "$work/wide"
    [ $? = 65 ] || { echo "a wide configuration: $(cat "$work/err")" >&2; failed=1; }
fi

for bad in "--quant int4" "--heads 3" "--experts 0" "--size 100x48" "--dim x" "--sampler ddim" "--sink 8"; do
    "$make_model" $small $bad "$work/bad" > "$work/out" 2> "$work/err"
    { [ $? = 64 ] && [ ! -e "$work/bad" ] && [ "$(wc -l < "$work/err")" = 1 ]; } || {
        echo "make_model $bad: $(head -n 3 "$work/err")" >&2; failed=1; }
done
exit $failed

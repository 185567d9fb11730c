#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the README's pictures with the shipped model: doc/pictures/flyover.webp (moving) and sheet.webp (prompts x time).
#   tools/pictures.sh [MODEL]      needs a build in build/ and ffmpeg
set -eu
cd "$(dirname "$0")/.."
model=${1:-models/default}
render=${RENDER:-build/apps/zoetrope-render}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p doc/pictures

# name|seed|prompt|events
steered=(
    "a|1|snowy mountains at sunset|{\"frame\": 16, \"controls\": {\"yaw\": 0.6}}
{\"frame\": 72, \"controls\": {\"yaw\": -0.6}}"
    "b|2|volcano at night|{\"frame\": 24, \"controls\": {\"yaw\": -0.5}}
{\"frame\": 80, \"controls\": {\"yaw\": 0.5}}"
    "c|3|tropical islands by day|{\"frame\": 48, \"prompt\": \"tropical islands at sunset\"}
{\"frame\": 20, \"controls\": {\"yaw\": 0.4}}"
    "d|4|desert dunes at dawn|{\"frame\": 56, \"prompt\": \"desert at night\"}"
    "e|5|green meadow on a clear day|{\"frame\": 24, \"controls\": {\"climb\": 0.7, \"yaw\": 0.4}}"
    "f|6|frozen ice at dawn|{\"frame\": 60, \"prompt\": \"ice at night\"}"
)
inputs=()
for clip in "${steered[@]}"; do
    IFS='|' read -r -d '' name seed prompt events <<< "$clip" || true
    printf '%s\n' "$events" | sort -t: -k2n > "$work/$name.jsonl"
    "$render" -q -m "$model" -p "$prompt" --seed "$seed" -n 96 --events "$work/$name.jsonl" -o "$work/$name.y4m"
    inputs+=(-i "$work/$name.y4m")
done
ffmpeg -v error -y "${inputs[@]}" -filter_complex \
    "[0][1][2][3][4][5]xstack=inputs=6:layout=0_0|w0_0|w0+w1_0|0_h0|w0_h0|w0+w1_h0,fps=12" \
    -c:v libwebp_anim -quality "${QUALITY:-92}" -compression_level 6 -loop 0 doc/pictures/flyover.webp

prompts=("snowy mountains at sunset" "desert by day" "islands at dawn" "volcano at night" "meadow on a clear day" "stormy canyon"
         "ice by day" "foggy mars at sunset")
rows=()
for i in "${!prompts[@]}"; do
    "$render" -q -m "$model" -p "${prompts[$i]}" --seed "$((20 + i))" -n 961 -o "$work/row$i.y4m"
    ffmpeg -v error -y -i "$work/row$i.y4m" -vf "select='eq(n\,1)+eq(n\,48)+eq(n\,120)+eq(n\,240)+eq(n\,480)+eq(n\,960)',scale=192:108,tile=6x1" -frames:v 1 "$work/row$i.png"
    rows+=(-i "$work/row$i.png")
done
ffmpeg -v error -y "${rows[@]}" -filter_complex "vstack=inputs=${#prompts[@]}" -quality 85 doc/pictures/sheet.webp
ls -l doc/pictures >&2

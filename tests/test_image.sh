#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# --image: the first frame of a stream is the given picture, as the model's encoder and decoder keep it.
#   test_image.sh ZOETROPE_RENDER DEFAULT_MODEL
set -u
render=$1 model=$2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
failed=0
"$render" -q -m "$model" -p "volcano at night" -n 9 --seed 3 -o "$work/a%02d.png" || exit 1
"$render" -q -m "$model" -p "volcano at night" -n 2 --seed 9 --image "$work/a08.png" -o "$work/b%02d.png" || exit 1
"$render" -q -m "$model" -p "volcano at night" -n 2 --seed 9 -o "$work/c%02d.png" || exit 1

# mean square error of two pictures, in bytes
mse() {
    for f in "$1" "$2"; do
        ffmpeg -v error -y -i "$f" -f rawvideo -pix_fmt gray "$f.raw" || exit 77
    done
    cmp -l "$1.raw" "$2.raw" | awk -v n="$(stat -c %s "$1.raw")" '
        function octal(s,  v, i) { v = 0; for (i = 1; i <= length(s); i++) v = v * 8 + substr(s, i, 1); return v }
        { d = octal($2) - octal($3); sum += d * d } END { print sum / n }'
}
command -v ffmpeg > /dev/null || { echo "no ffmpeg to compare with"; exit 77; }
near=$(mse "$work/a08.png" "$work/b00.png") far=$(mse "$work/a08.png" "$work/c00.png")
echo "from the picture: $near, without it: $far"
# 28 dB is what the autoencoder keeps of a picture that it has seen the like of; another picture is far away
awk -v a="$near" -v b="$far" 'BEGIN { exit !(a < 100 && b > 3 * a) }' || { echo "not the picture" >&2; failed=1; }

# what is not a picture ends with 65, what is not there with 66
echo "no picture" > "$work/text.png"
"$render" -q -m "$model" -p sea -n 2 --image "$work/text.png" -o "$work/d.y4m" 2> "$work/err"
[ $? = 65 ] && [ "$(wc -l < "$work/err")" = 1 ] || { echo "text: $(cat "$work/err")" >&2; failed=1; }
"$render" -q -m "$model" -p sea -n 2 --image "$work/none.png" -o "$work/d.y4m" 2> "$work/err"
[ $? = 66 ] && [ "$(wc -l < "$work/err")" = 1 ] || { echo "none: $(cat "$work/err")" >&2; failed=1; }
exit $failed

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A session over HTTP with curl: made, steered, looked at, ended. Then a clip, if the server takes clips (--batch-dir).
# Usage: sessions.sh [http://127.0.0.1:8080] [FOLDER]        a token comes in ZOETROPE_TOKEN
set -euo pipefail
server=${1:-http://127.0.0.1:8080} folder=${2:-.}
server=${server%/}

# api METHOD PATH [JSON]
api() {
    local more=()
    [ -z "${ZOETROPE_TOKEN:-}" ] || more+=(-H "Authorization: Bearer $ZOETROPE_TOKEN")
    [ -z "${3:-}" ] || more+=(-H 'Content-Type: application/json' -d "$3")
    curl -sS --fail-with-body -m 60 -X "$1" "${more[@]}" "$server$2"
}
# field NAME: of a flat JSON object on stdin
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

made=$(api POST /sessions '{"prompt": "volcano at night", "seed": 7, "ttl_s": 60}')
id=$(field id <<< "$made")
echo "session $id; RTSP players open $(field rtsp <<< "$made")"

api PATCH "/sessions/$id" '{"controls": {"yaw": 0.6}, "prompt": "snowy mountains at dawn"}' > /dev/null
for n in 1 2 3; do
    api GET "/s/$id.jpg" > "$folder/picture-$n.jpg"
    sleep 1
done
api GET "/sessions/$id"
echo
api DELETE "/sessions/$id"

if clip=$(api POST /clips '{"prompt": "sea at dawn", "frames": 48, "format": "mp4"}' 2> /dev/null); then
    id=$(field id <<< "$clip")
    until [ "$(api GET "/clips/$id" | field state)" = 'done' ]; do
        [ "$(api GET "/clips/$id" | field state)" != failed ] || { api GET "/clips/$id"; exit 1; }
        sleep 1
    done
    api GET "/clips/$id/file" > "$folder/clip.mp4"
    api DELETE "/clips/$id"
    echo "clip.mp4 has $(wc -c < "$folder/clip.mp4") bytes"
fi

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# zoetrope-model pull against a hub on loopback: whole files or none, whatever the hub does.
#   test_pull.sh ZOETROPE_MODEL TESTS_FOLDER
set -u
model=$(realpath "$1") tests=$(realpath "$2")
command -v python3 > /dev/null || { echo "python3 is missing"; exit 77; }
work=$(mktemp -d) || exit 2
cd "$work" || exit 2
failed=0
unset HF_TOKEN
export NO_PROXY='*'
HF_ENDPOINT=http://127.0.0.1:1 "$model" pull o/x > out 2> err
[ $? != 69 ] || { cat err; exit 77; }            # without libcurl
python3 "$tests/hub_server.py" log > port &
server=$!
trap 'kill $server; rm -rf "$work"' EXIT
for _ in $(seq 100); do [ -s port ] && break; sleep 0.1; done
export HF_ENDPOINT=http://127.0.0.1:$(cat port)

# expect CODE WORDS...: at most one line on stderr
expect() {
    local want=$1; shift
    "$model" "$@" > out 2> err
    local code=$?
    if [ "$code" != "$want" ] || [ "$(wc -l < err)" -gt 1 ]; then
        echo "$*: exit $code, not $want: $(head -n 3 err)" >&2
        failed=1
    fi
}
check() { "$@" || { echo "not so: $*" >&2; failed=1; }; }
says() { check grep -q -- "$1" err; }
no_big() { check [ ! -e "$1/weights/big model.bin" ]; }
whole() { check [ "$(sha256sum < "$1/weights/big model.bin")" = "$(sha256sum < "good/weights/big model.bin")" ]; }

# what it would get, and what it gets
expect 0 pull o/good --dry-run
check /usr/bin/env python3 - << 'PY'
import json
d = json.load(open("out"))
assert d["repo"] == "o/good" and d["bytes"] == d["bytes_to_get"] == 700013 and len(d["files"]) == 3, d
assert [f["have"] for f in d["files"]] == [False] * 3 and len(d["files"][1]["sha256"]) == 64 and d["files"][0]["sha256"] is None
PY
check [ ! -e good ]
expect 0 pull o/good
check [ "$(find good -type f | sort | tr '\n' ' ')" = "good/config.json good/empty.txt good/weights/big model.bin " ]
check [ "$(stat -c %s "good/weights/big model.bin")" = 700001 ]
check grep -q "/o/good/resolve/0123456789abcdef0123456789abcdef01234567/weights/big%20model.bin - -" log
expect 0 pull o/good                            # everything is there: only the list
check [ "$(grep -c /o/good/resolve log)" = 2 ]  # an empty one needs no request
expect 0 pull o/good@v1 '*.json' --dir some/where
check [ "$(find some -type f)" = some/where/config.json ]
check grep -q "/api/models/o/good/revision/v1?blobs=true" log
expect 66 pull o/good '*.gguf'
printf 'mine' > good/config.json
expect 73 pull o/good
says "another size"
check [ "$(cat good/config.json)" = mine ]
expect 0 pull -y o/good

# broken off: it goes on there, in the same run, and in the next one
expect 0 pull o/cut
whole cut
check grep -q "/o/cut/.* bytes=300000- " log
expect 0 pull o/norange
whole norange
expect 75 pull o/stuck
no_big stuck
says "run it again"
check [ "$(stat -c %s "stuck/weights/big model.bin.part")" = 250000 ]
check grep -q "/o/stuck/.* bytes=250000- " log
mkdir -p left/weights && head -c 123456 "good/weights/big model.bin" > "left/weights/big model.bin.part"
expect 0 pull o/good --dir left
whole left
check grep -q "/o/good/.* bytes=123456- " log
mkdir -p over/weights && cat "good/weights/big model.bin" good/config.json > "over/weights/big model.bin.part"
expect 0 pull o/good --dir over                 # longer than it can be
whole over

# wrong bytes are never kept
for repo in wrong long; do
    expect 65 pull o/$repo
    no_big $repo
    check [ ! -e "$repo/weights/big model.bin.part" ]
done
mkdir -p bad/weights && head -c 1000 /dev/zero > "bad/weights/big model.bin.part"
expect 65 pull o/good --dir bad
no_big bad
says "SHA-256"
expect 0 pull o/good --dir bad

# who may not, what is not there, what makes no sense
expect 66 pull o/private
says "HF_TOKEN"
HF_TOKEN=wrong expect 66 pull o/private
HF_TOKEN=secret expect 0 pull o/private
whole private
HF_TOKEN=secret expect 0 pull o/redirect
whole redirect
check grep -q "^0 /o/redirect/resolve/.*big.* - Bearer secret" log
check grep -q "^1 /o/redirect/resolve/.*big.* - -$" log
check [ "$(grep -c '^1 .*secret' log)" = 0 ]
HF_TOKEN=secret HF_ENDPOINT=http://example.invalid expect 64 pull o/good
HF_ENDPOINT=http://127.0.0.1.example.invalid HF_TOKEN=secret expect 64 pull o/good
HF_ENDPOINT=http://127.0.0.1:80@example.invalid HF_TOKEN=secret expect 64 pull o/good
HF_ENDPOINT=ftp://127.0.0.1 expect 64 pull o/good
expect 66 pull o/gone
says "404"
expect 65 pull o/noise
expect 65 pull o/evil
check [ ! -e outside ] && check [ ! -e evil ]
expect 65 pull o/nosize
HF_ENDPOINT=http://127.0.0.1:1 expect 75 pull o/good
for name in good o/ /good o/../x 'o/a b' o/good@ o/good/x ../good; do
    expect 64 pull "$name"
done
touch file
expect 73 pull o/good --dir file/below
expect 64 pull

# stopped by a signal: what came is kept
"$model" pull o/slow > out.slow 2> err.slow &
pid=$!
for _ in $(seq 100); do [ -s "slow/weights/big model.bin.part" ] && break; sleep 0.1; done
expect 75 pull o/slow                           # not two at once
says "another process"
kill -TERM $pid
wait $pid
[ $? = 75 ] || { echo "a signal: $(cat err.slow)" >&2; failed=1; }
no_big slow
check [ "$(stat -c %s "slow/weights/big model.bin.part")" = 250000 ]

exit $failed

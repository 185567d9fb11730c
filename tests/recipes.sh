#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The recipes of doc/batch.md do what they say: GNU parallel, interrupted and again; the commands of the Kubernetes and Open
# Job Description templates, by openjd itself where it is installed.
# Usage: recipes.sh RENDER MODEL DOC
set -u
render=$(realpath "$1") model=$(realpath "$2") doc=$(realpath "$3")
work=$(mktemp -d) || exit 2
cd "$work" || exit 2
failed=0 ran=0 child=''
complain() { printf 'FAIL: %.300s\n' "$1"; failed=1; }
trap 'kill $child 2> /dev/null; rm -rf "$work"' EXIT
export ZOETROPE_MODEL=$model LC_ALL=C
mkdir bin data && ln -s "$render" bin/zoetrope-render
export PATH=$work/bin:$PATH
for i in 0 1 2 3; do echo "{\"id\":\"clip$i\",\"prompt\":\"sea\",\"frames\":400,\"steps\":8,\"seed\":$i}"; done > clips.jsonl
cp clips.jsonl data
"$render" -q --manifest clips.jsonl -o whole || complain 'without a recipe'
block() { awk -v like="$1" '/^```/ { if (inside && text ~ like) { printf "%s", text; exit } inside = !inside; text = ""; next } { text = text $0 "\n" }' "$doc"; }
same() { diff -r whole "$1" > difference 2>&1 || complain "$2: $(head -n 3 difference)"; }

block '^parallel ' | sed 's/seq 0 99/seq 0 3/' > recipe.sh
if grep -q '^parallel' recipe.sh && parallel --version 2> /dev/null | grep -q '^GNU parallel'; then
    bash -n recipe.sh || complain 'the recipe is no shell script'
    bash -c "exec $(cat recipe.sh)" > said 2>&1 & child=$!
    for _ in $(seq 600); do ls clips/.*/plan.json > /dev/null 2>&1 && break; sleep 0.05; done
    kill -TERM $child; sleep 0.2; kill -TERM $child 2> /dev/null; wait $child; child=''
    [ "$(ls clips/*.json 2> /dev/null | wc -l)" -lt 4 ] || complain 'it was not interrupted'
    bash recipe.sh > said 2>&1 || complain "parallel: $(tail -n 2 said)"
    same clips parallel
    ran=$((ran + 1))
fi

python=/usr/bin/python3
if $python -c 'import yaml' 2> /dev/null; then
    block '^apiVersion' > job.yaml
    block '^specificationVersion' > clips.yaml
    $python - > job.txt <<'PYTHON' || complain 'the Kubernetes template'
import yaml
spec = yaml.safe_load(open('job.yaml'))['spec']
pod = spec['template']['spec']
render, = pod['containers']
assert spec['completionMode'] == 'Indexed' and pod['restartPolicy'] == 'Never', 'what backoffLimitPerIndex needs'
assert {m['name'] for m in render['volumeMounts']} == {v['name'] for v in pod['volumes']}
assert render['command'][:2] == ['sh', '-c']
print(render['command'][2])
PYTHON
    sed -i "s|/data/|$work/data/|g" job.txt
    for i in 0 1 2 3; do JOB_COMPLETION_INDEX=$i sh -c "$(cat job.txt)" || complain "Kubernetes, pod $i"; done
    same data/clips Kubernetes
    rm -r data/clips
    $python - "$work/data" > openjd.sh <<'PYTHON' || complain 'the Open Job Description template'
import shlex, sys, yaml
step, = yaml.safe_load(open('clips.yaml'))['steps']
run = step['script']['actions']['onRun']
index, = step['parameterSpace']['taskParameterDefinitions']
assert index['range'] == '0-{{Param.Last}}'
for i in range(4):
    words = [w.replace('{{Param.Folder}}', sys.argv[1]).replace('{{Task.Param.Index}}', str(i)) for w in run['args']]
    assert not any('{{' in w for w in words)
    print(shlex.join([run['command'], *words]))
PYTHON
    sh -e openjd.sh || complain 'Open Job Description, its commands'
    same data/clips 'Open Job Description'
    ran=$((ran + 1))
fi
if command -v openjd > /dev/null && [ -s clips.yaml ]; then
    rm -rf data/clips
    openjd check clips.yaml > said 2>&1 || complain "openjd check: $(tail -n 3 said)"
    openjd run clips.yaml -p Folder="$work/data" -p Last=3 > said 2>&1 || complain "openjd run: $(tail -n 3 said)"
    same data/clips openjd
    echo 'openjd ran its template'
fi
[ $ran -gt 0 ] || { echo 'neither GNU parallel nor python3-yaml'; exit 77; }
exit $failed

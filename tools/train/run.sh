#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Trains the shipped model from a seed and exports it: run.sh [WORK [SEED [MODEL]]]
# In the environment: PYTHON; PLAN, other minutes for the stages as in PLAN=small=60,full=60; BUILD, whose engine measures it (build/).
set -e
here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$HOME/.cache/zoetrope-train}
seed=${2:-1}
model=${3:-$here/../../models/default}
export OMP_WAIT_POLICY=passive
mkdir -p "$work"
until [ "$(tail -n 1 "$work/log" 2>/dev/null)" = "all done" ]; do
    nice -n 15 "${PYTHON:-python3}" "$here/train.py" --work "$work" --seed "$seed" --minutes 9 --plan "$PLAN" >>"$work/log" 2>&1 ||
        { tail -n 3 "$work/log" >&2; exit 1; }
done
"${PYTHON:-python3}" "$here/export.py" --work "$work" --out "$model"
"${PYTHON:-python3}" "$here/eval.py" --model "$model" --engine "${BUILD:-$here/../../build}" --quick

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The systemd unit is understood, and leaves the server little: exposure 2.0 at most. Usage: unit.sh UNIT SERVE
set -u
command -v systemd-analyze > /dev/null || { echo "skipped: there is no systemd-analyze"; exit 77; }
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
unit=$work/zoetrope-serve.service
sed "s,^ExecStart=[^ ]*,ExecStart=$(realpath "$2")," "$1" > "$unit"
failed=0
systemd-analyze security --offline=yes --no-pager --threshold=20 "$unit" > "$work/security" 2>&1 || failed=1
tail -n 1 "$work/security"
# Other units of this machine are none of ours; an unknown key is.
systemd-analyze verify --man=no "$unit" 2>&1 | grep -F "$unit" && failed=1
grep -q '^TasksMax=4096$' "$unit" || { echo "TasksMax is not 4096"; failed=1; }
exit $failed

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# whep_narrow.sh TEST_WHEP: a line that loses nothing but is too narrow: packets queue on it, and the bitrate must fall.
# In a network namespace of its own.
exec unshare -rn sh -c '
    ip link set lo up && tc qdisc add dev lo root tbf rate 380kbit burst 5kb latency 20s ||
        { echo "skipped: no token bucket here (ip, tc, sch_tbf)"; exit 77; }
    exec "$0" narrow' "$1"

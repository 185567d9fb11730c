#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# gst.sh MODEL FRAMES [RTSP_RECORD]: the recipes of doc/gstreamer.md with gst-launch: a file, and an RTSP server of
# this machine where rtspclientsink is installed; and what the registry says of the element. GST_PLUGIN_PATH is set.
set -eu
export ZOETROPE_MODEL=$1
frames=$2 record=${3:+$(realpath "$3")}
work=$(mktemp -d)
server= client=
trap 'kill $server $client 2> /dev/null || true; rm -rf "$work"' EXIT
die() { echo "gst.sh: $*" >&2; exit 1; }
skip() { echo "gst.sh: $*: skipped"; exit 77; }
command -v gst-launch-1.0 > /dev/null || skip 'gstreamer1.0-tools is not installed'
cd "$work"

gst-inspect-1.0 zoetropesrc > inspected || die 'not in the registry'
for property in model prompt seed steps fps controls stats; do
    grep -q "^  $property  *:" inspected || die "no property $property"
done

for element in x264enc mp4mux ffprobe; do
    [ $element = ffprobe ] && { command -v ffprobe > /dev/null || skip 'ffmpeg is not installed'; continue; }
    gst-inspect-1.0 --exists $element || skip "$element is not installed"
done
gst-launch-1.0 -q zoetropesrc prompt="volcano at night" num-buffers="$frames" ! x264enc ! mp4mux ! filesink location=x.mp4 > said 2>&1 ||
    die "gst-launch: $(cat said)"
# Packets: where a busy machine left slots out, mp4mux's edit list is shorter than the stream and hides the last picture.
n=$(ffprobe -v error -count_packets -select_streams v -show_entries stream=nb_read_packets -of csv=p=0 x.mp4)
[ "$n" = "$frames" ] || die "x.mp4 has $n frames, not $frames"

[ -n "$record" ] || exit 0
gst-inspect-1.0 --exists rtspclientsink || { echo 'gst.sh: rtspclientsink is not installed: no RTSP'; exit 0; }
"$record" 48 > address &
server=$!
for _ in $(seq 100); do [ -s address ] && break; sleep 0.1; done
timeout 60 gst-launch-1.0 -q zoetropesrc prompt="islands at dawn" ! x264enc tune=zerolatency ! rtspclientsink location="$(cat address)" > said 2>&1 &
client=$!
wait $server || { kill $client 2> /dev/null; die "the RTSP server got fewer than 48 pictures: $(cat said)"; }
server=
kill -INT $client 2> /dev/null || true
wait $client || true
client=

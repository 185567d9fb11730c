#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every header compiles alone, as C11 and as C++17.
set -u
cd "${1:-$(dirname "$0")/..}" || exit 2
flags=$(pkg-config --cflags gstreamer-rtsp-server-1.0 gstreamer-rtp-1.0 gstreamer-app-1.0 gstreamer-video-1.0 libsoup-3.0 libcjson cmocka 2>/dev/null)
failed=0
for header in base/*.h kernels/*.h diffusion/*.h engine/*.h lib/*.h stream/*.h apps/*.h apps/gst/*.h apps/serve/*.h; do
    [ -f "$header" ] || continue
    [ "$header" != kernels/tile_vnni.h ] || continue      # the text of two files, which give it its instruction
    isa=
    case $header in *_avx512.h) isa='-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512bf16 -mfma' ;; *_avx2.h) isa='-mavx2 -mfma' ;; esac
    printf '#include "%s"\n' "$header" | ${CC:-cc} -std=c11 -D_GNU_SOURCE $isa -Wall -Werror -Wno-unused-function $flags -I. -fsyntax-only -x c - || { echo "$header: not C alone" >&2; failed=1; }
    case $header in kernels/*_avx512.h | kernels/*_avx2.h) continue ;; esac
    command -v c++ > /dev/null || continue
    printf '#include "%s"\n' "$header" | c++ -std=c++17 -D_GNU_SOURCE $isa -Wall -Wno-unused-function $flags -I. -fsyntax-only -x c++ - || { echo "$header: not C++ alone" >&2; failed=1; }
done
exit $failed

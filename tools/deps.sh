#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The one list of packages.
#   tools/deps.sh run|build|all             prints the list, a package a line
#   tools/deps.sh run|build|all --missing   prints those that are not installed
#   tools/deps.sh run|build|all --install   installs them (root or sudo)
# run: what zoetrope-serve needs when it is built; build: to build, run included; all: the tests' needs too, and those of
# what the shipped model does without (UMT5 prompts: g++ and libsentencepiece-dev).
set -eu

run='gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-nice glib-networking'
build='gcc libc6-dev meson ninja-build pkg-config libcjson-dev libavcodec-dev libavformat-dev libavutil-dev
       libswscale-dev libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstrtspserver-1.0-dev
       libsoup-3.0-dev libssl-dev libseccomp-dev libcurl4-openssl-dev scdoc
       libgtk-4-dev libadwaita-1-dev libmanette-0.2-dev libqrencode-dev'
tests='libsentencepiece-dev prometheus systemtap-sdt-dev g++ clang libclang-rt-14-dev libcmocka-dev ffmpeg mpv gstreamer1.0-tools gstreamer1.0-plugins-ugly gstreamer1.0-rtsp gstreamer1.0-libav chromium chromium-driver doxygen
       curl git openssl python3-minimal libdnnl-dev libopenblas-dev munge slurmctld slurmd slurm-client parallel python3-yaml python3-numpy mandoc man-db bash-completion fish zsh systemd iproute2
       debhelper lintian debootstrap systemd-container
       xvfb xdotool imagemagick fonts-cantarell desktop-file-utils appstream'

case "${1:-}" in
    run)   list="$run" ;;
    build) list="$build $run" ;;
    all)   list="$build $run $tests" ;;
    *) echo "usage: tools/deps.sh run|build|all [--missing|--install]" >&2; exit 64 ;;
esac

print() { printf '%s\n' $list; }

missing() {
    for p in $list; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || echo "$p"
    done
}

require_debian() {
    if ! command -v apt-get > /dev/null || ! command -v dpkg-query > /dev/null; then
        echo "This system has no apt-get. Please install the counterparts of these Debian packages:" >&2
        print >&2
        exit 69
    fi
}

case "${2:-}" in
    "") print ;;
    --missing) require_debian; missing ;;
    --install)
        require_debian
        need=$(missing)
        [ -n "$need" ] || exit 0
        sudo=
        if [ "$(id -u)" != 0 ]; then
            sudo=$(command -v sudo) || { echo "Packages are missing and this is neither root nor sudo:" $need >&2; exit 69; }
        fi
        log=$(mktemp)
        trap 'rm -f "$log"' EXIT
        { $sudo apt-get update -qq          # a source that fails may not be needed
            $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need
        } > "$log" 2>&1 < /dev/null || { tail -n 20 "$log" >&2; echo "apt-get could not install:" $need >&2; exit 69; }
        ;;
    *) echo "tools/deps.sh: unknown option $2" >&2; exit 64 ;;
esac

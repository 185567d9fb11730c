#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The Debian packages in a bare Debian without build tools: they install, render, serve under systemd and its hardening, are
# restarted by the watchdog, and leave nothing when they are removed. Needs root, debootstrap, a mirror, ten minutes.
# Usage: packages.sh SOURCE [FOLDER_WITH_PACKAGES]     ($ZOETROPE_CHROOTS: a folder that keeps bare systems between runs)
set -u
source=$(realpath "$1")
mirror=${ZOETROPE_MIRROR:-http://deb.debian.org/debian}
skip() { echo "skipped: $1"; exit 77; }
[ "$(id -u)" = 0 ] || skip "only root can chroot"
for tool in debootstrap unshare dpkg-buildpackage dh lintian; do
    command -v $tool > /dev/null || skip "there is no $tool"
done
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[ -e "/usr/share/debootstrap/scripts/$codename" ] || skip "debootstrap does not know \"$codename\""
work=$(mktemp -d) || exit 2
trap 'rm -rf --one-file-system "$work"' EXIT
failed=0
complain() { printf 'FAIL: %.500s\n' "$1"; failed=1; }

# ---- packages, and a system for them

packages=$work/packages
if [ $# -gt 1 ]; then packages=$(realpath "$2"); else
    "$source/tools/deb.sh" "$packages" > "$work/log" 2>&1
    case $? in
        0) ;;
        69) skip "$(tail -n 1 "$work/log")" ;;
        *) tail -n 30 "$work/log"; exit 1 ;;
    esac
fi

bare=${ZOETROPE_CHROOTS:-$work}/bare-$codename.tar
if [ ! -f "$bare" ]; then
    unshare --mount debootstrap --variant=minbase "$codename" "$work/bare" "$mirror" > "$work/log" 2>&1 ||
        skip "debootstrap: $(grep -m 1 '^[EW]:' "$work/log" || tail -n 1 "$work/log")"
    tar -C "$work/bare" -cf "$bare.part" . && mv "$bare.part" "$bare"
    rm -rf --one-file-system "$work/bare"
fi
root=$work/root
mkdir "$root"
tar -C "$root" -xf "$bare"
cp /etc/resolv.conf "$root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
mkdir "$root/packages"
find "$packages" -name "*.deb" -not -name "*-dbgsym_*" -exec cp -t "$root/packages" {} +
cp "$source/tools/install_debs.sh" "$root/packages"

# inside COMMAND: in the system, with a /proc and a /tmp of its own; ends with all that it started.
inside() {
    unshare --mount --pid --fork --kill-child bash -c 'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && mount -t tmpfs tmpfs "$1/tmp" &&
        exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive bash -euc "$2"' bash "$root" "$1" < /dev/null
}

# ---- installed without what they recommend, they render

ours() { inside "dpkg-query -W -f '\${Package}\n' '*zoetrope*'" | tr '\n' ' '; }
inside 'apt-get update -qq && apt-get install -qq -y --no-install-recommends /packages/*zoetrope*_*.deb' > "$work/log" 2>&1 ||
    { complain "installation: $(grep -m 3 '^E:' "$work/log")"; exit 1; }
echo "installed: $(ours)"
list=$(ours)
for package in $list; do cat "$root/var/lib/dpkg/info/$package.list" "$root/var/lib/dpkg/info/$package":*.list; done 2> /dev/null | sort -u > "$work/paths"
for tool in cc gcc c++ ld make meson ninja pkg-config python3; do
    inside "! command -v $tool" > /dev/null || complain "there is $tool: this would prove nothing"
done
mkdir "$root/out"
chmod 777 "$root/out"
inside 'cd /out && runuser -u nobody -- env XDG_CACHE_HOME=/tmp zoetrope-render -p "volcano at night" -n 24 -o x.mp4' ||
    complain "zoetrope-render failed"
bytes=$(stat -c %s "$root/out/x.mp4" 2> /dev/null || echo 0)
[ "$bytes" -gt 20000 ] || complain "x.mp4 has $bytes bytes"
if command -v ffprobe > /dev/null; then
    shape=$(ffprobe -v error -count_frames -select_streams v -show_entries stream=codec_name,width,height,nb_read_frames -of csv=p=0 "$root/out/x.mp4")
    [ "$shape" = h264,512,288,24 ] || complain "x.mp4 is $shape"
fi
inside 'for program in render serve model bench; do zoetrope-$program --version; done' | sort -u | awk '{ print $2 }' | uniq | wc -l | grep -qx 1 ||
    complain "the programs have different versions"
inside 'zoetrope-model check /usr/share/zoetrope/models/default' > "$work/log" 2>&1 || complain "model check: $(tail -n 2 "$work/log")"

# ---- what programs are built with, by this machine's compiler

mkdir "$work/dev"
for package in libzoetrope0 libzoetrope-dev; do dpkg-deb -x "$packages"/${package}_*.deb "$work/dev"; done
# shellcheck disable=SC2046
if command -v cc pkg-config > /dev/null; then
    export PKG_CONFIG_SYSROOT_DIR=$work/dev
    PKG_CONFIG_LIBDIR=$(dirname "$work"/dev/usr/lib/*/pkgconfig/zoetrope.pc)
    export PKG_CONFIG_LIBDIR
    cc "$source/examples/frames.c" -o "$root/out/frames" $(pkg-config --keep-system-cflags --keep-system-libs --cflags --libs zoetrope) ||
        complain "the example does not build with libzoetrope-dev"
    inside 'cd /out && ./frames "volcano at night" > frames.y4m' || complain "the example does not run with libzoetrope0"
    frames=$(grep -ao FRAME "$root/out/frames.y4m" | wc -l)
    [ "$frames" = 48 ] || complain "the example made $frames frames"
fi

# ---- under systemd, in a container with a network of its own

# Runs as a unit; what it says is read from the file result. say WHAT VALUE.
cat > "$root/served.sh" <<'SERVED'
exec 2> /served.log
set -x
say() { echo "$1 $2" >> /result; }
state() { systemctl show -P "$1" zoetrope-serve; }
wait_for() { for _ in $(seq 300); do [ "$(state "$1")" = "$2" ] && return; sleep 0.2; done; }
# get PATH: the answer of HTTP, for those who have no curl.
get() { exec 3<> /dev/tcp/127.0.0.1/8080 && printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$1" >&3 && timeout "${2:-5}" cat <&3; exec 3>&-; }

# As the image does it: user, environment and health of the Dockerfile.
printf 'control c0ntr0lling\nview v1ewing0nly\n' > /tokens
chmod 644 /tokens
install -d -o 65532 -g 65532 /var/cache/zoetrope
setpriv --reuid 65532 --regid 65532 --clear-groups env $(cat /image.env) ZOETROPE_TOKEN_FILE=/tokens zoetrope-serve & image=$!
for _ in $(seq 100); do sh /image.health && break; sleep 0.2; done
sh /image.health
say health $?
say unasked "$(get /model | head -n 1 | tr -d '\r')"
kill $image
wait $image
say image $?
sh /image.health
say unhealthy $?
rm -r /var/cache/zoetrope

systemctl start zoetrope-serve
say start $?
say state "$(state ActiveState)/$(state Type)"
pid=$(state MainPID)
say user "$(ps -o user= -p "$pid")"
say seccomp "$(awk '/^Seccomp:/ { print $2 }' "/proc/$pid/status")"
say capabilities "$(awk '/^CapBnd:/ { print $2 }' "/proc/$pid/status")"
say ready "$(get /readyz | head -n 1 | tr -d '\r')"
say pictures "$(get /s/live.mjpeg 5 | grep -ac '^Content-Type: image/jpeg')"
say frames "$(get /metrics | tr -d '\r' | sed -n 's/^zoetrope_frames_total{outcome="on_time"} //p')"
say rtsp "$(exec 3<> /dev/tcp/127.0.0.1/8554 && printf 'DESCRIBE rtsp://127.0.0.1/live RTSP/1.0\r\nCSeq: 1\r\n\r\n' >&3 && timeout 5 cat <&3 | tr -d '\r' | grep -aE '^RTSP|rtpmap' | xargs)"
systemctl reload zoetrope-serve
say reload "$?/$(state ActiveState)"
[ "$pid" = 0 ] || kill -STOP "$pid"
wait_for NRestarts 1
wait_for ActiveState active
say restarted "$(state NRestarts)/$(state ActiveState)"
say ready "$(get /readyz | head -n 1 | tr -d '\r')"
systemctl stop zoetrope-serve
say stopped "$(state Result)/$(state ExecMainStatus)"
systemctl start zoetrope-serve
pid=$(state MainPID)
dpkg --force-depends --remove zoetrope >&2
say removed "$(state ActiveState)/$(ps -o comm= -p "$pid")"
journalctl -u zoetrope-serve --no-pager -o cat > /journal
systemctl poweroff
SERVED

serve_under_systemd() {
    local console=$work/console
    command -v systemd-nspawn > /dev/null || { echo "not tried: there is no systemd-nspawn"; return; }
    inside "/packages/install_debs.sh /packages && apt-get install -qq -y --no-install-recommends systemd-sysv dbus procps" > "$work/log" 2>&1 ||
        { complain "what zoetrope-serve needs: $(grep -m 3 '^E:' "$work/log")"; return; }
    sed -n 's/^ENV //p' "$source/Dockerfile" > "$root/image.env"
    sed -n 's/^HEALTHCHECK .* CMD //p' "$source/Dockerfile" > "$root/image.health"
    rm "$root/usr/sbin/policy-rc.d"         # it forbids to stop services, too
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants" "$root/etc/systemd/system/zoetrope-serve.service.d"
    printf '[Unit]\nAfter=multi-user.target\n[Service]\nExecStart=/bin/bash /served.sh\n' > "$root/etc/systemd/system/served.service"
    ln -s ../served.service "$root/etc/systemd/system/multi-user.target.wants/served.service"
    # So that the test does not take a minute.
    printf '[Service]\nWatchdogSec=8\n' > "$root/etc/systemd/system/zoetrope-serve.service.d/watchdog.conf"
    timeout 300 systemd-nspawn -q -D "$root" --register=no --keep-unit --private-network -b < /dev/null > "$console" 2>&1
    [ -s "$root/result" ] || { echo "not tried: systemd does not run in a container here ($(tail -n 1 "$console"))"; return; }
    cat "$root/result"
    local wanted
    while read -r wanted; do
        grep -qxE -- "$wanted" "$root/result" || complain "under systemd: no \"$wanted\""
    done <<'WANTED'
health 0
unasked HTTP/1.. 401 Unauthorized
image 0
unhealthy 1
start 0
state active/notify
user zoetrop.*|user [1-9][0-9]*
seccomp 2
capabilities 0+
ready HTTP/1.. 200 OK
pictures [1-9][0-9]+
frames [1-9][0-9]*
rtsp RTSP/1.0 200 OK a=rtpmap:96 H264/90000
reload 0/active
restarted 1/active
stopped success/0
removed inactive/
WANTED
    [ $failed = 0 ] || tail -n 20 "$root/journal"
    grep -q 'SIGTERM: stopping' "$root/journal" || complain "no word of its end in the journal"
    rm -r "$root/etc/systemd/system/multi-user.target.wants/served.service" "$root/etc/systemd/system/served.service" \
        "$root/etc/systemd/system/zoetrope-serve.service.d"
}
serve_under_systemd

# ---- removed

inside "apt-get purge -qq -y $list" > "$work/log" 2>&1 || complain "removal: $(grep -m 3 '^[EW]' "$work/log")"
grep -i 'warning' "$work/log" && complain "removal warns"
[ -z "$(ours 2> /dev/null | tr -d ' ')" ] || complain "packages are left: $(ours)"
sort -u "$root"/var/lib/dpkg/info/*.list > "$work/owned"
comm -23 "$work/paths" "$work/owned" | while read -r path; do
    [ ! -e "$root$path" ] && [ ! -L "$root$path" ] || echo "$path"
done > "$work/left"
find "$root" -xdev -iname '*zoetrope*' -not -path "$root/packages/*" -not -path "$root/var/log/*" -not -path "$root/proc/*" >> "$work/left"
[ ! -s "$work/left" ] || complain "left behind: $(head -n 5 "$work/left" | tr '\n' ' ')"
exit $failed

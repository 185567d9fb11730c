#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the Debian packages (debian/) from this tree, as it is, and has lintian look at them.
#   tools/deb.sh OUT [--check] [--source]     writes .deb, .buildinfo and .changes into the folder OUT
# --check: tests run between, as on Debian's machines; --source: the source package, too. ZOETROPE_LINTIAN=no: no lintian.
set -eu
out=${1:?usage: tools/deb.sh OUT [--check] [--source]} check=0 what=(-b)
shift
for option; do
    case $option in
        --check) check=1 ;;
        --source) what=() ;;
        *) echo "tools/deb.sh: unknown option $option" >&2; exit 64 ;;
    esac
done
cd "$(dirname "$0")/.."
mkdir -p "$out"
out=$(realpath "$out")
version=$(dpkg-parsechangelog -S Version)
meson_version=$(sed -n "s/^ *version: '\(.*\)',/\1/p" meson.build | head -n 1)
[ "$version" = "$meson_version" ] || { echo "debian/changelog says $version, meson.build $meson_version" >&2; exit 65; }
DEB_BUILD_OPTIONS=parallel=$(nproc)
export DEB_BUILD_OPTIONS DEB_BUILD_PROFILES=
[ $check = 1 ] || export DEB_BUILD_OPTIONS="$DEB_BUILD_OPTIONS nocheck" DEB_BUILD_PROFILES=nocheck
need=$(dpkg-checkbuilddeps 2>&1) || { echo "$need" >&2; exit 69; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source=$work/zoetrope-$version
mkdir "$source"
export CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=1     # the folder is another each time
# What git knows or would add; in an unpacked archive all there is but builds.
if git rev-parse --git-dir > /dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
        tar -c --null -T - | tar -x -C "$source"
else
    tar -c --exclude='./build*' . | tar -x -C "$source"
fi
(cd "$source" && dpkg-buildpackage -us -uc "${what[@]}") > "$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; exit 70; }
find "$work" -maxdepth 1 -type f -exec cp -t "$out" {} +
[ "${ZOETROPE_LINTIAN:-}" = no ] ||
    lintian --fail-on error,warning --tag-display-limit 0 --allow-root "$out"/zoetrope_"$version"_*.changes

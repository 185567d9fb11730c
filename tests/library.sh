#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# library.sh BUILD SOURCE RENDER MODEL SANITIZE: libzoetrope as it is installed. It exports what its headers declare and
# what the map lists; every header stands alone in C and C++; the example, built with what pkg-config says, makes the
# frames that zoetrope-render makes.
set -eu
build=$1 source=$2 render=$3 model=$4
sanitize=()
[ "$5" = none ] || sanitize=("-fsanitize=$5")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
die() { echo "library.sh: $*" >&2; exit 1; }

DESTDIR=$work meson install -C "$build" --no-rebuild --quiet --tags runtime,devel > "$work/log" 2>&1 || { tail "$work/log" >&2; die "meson install failed"; }
pc=$(find "$work" -name zoetrope.pc)
[ -n "$pc" ] || die "no zoetrope.pc"
export PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$work
read -ra cflags <<< "$(pkg-config --cflags zoetrope)"
read -ra libs <<< "$(pkg-config --libs zoetrope)"
LD_LIBRARY_PATH=$(pkg-config --variable=libdir zoetrope)
[ -d "$LD_LIBRARY_PATH" ] || LD_LIBRARY_PATH=$work$LD_LIBRARY_PATH
export LD_LIBRARY_PATH
headers=$(dirname "$(find "$work" -name zoetrope.h)")

nm -D --defined-only "$LD_LIBRARY_PATH/libzoetrope.so.0" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort > "$work/exported"
sed -n 's/^ *\(zt_[a-z0-9_]*\);$/\1/p' "$source/lib/zoetrope.map" | sort > "$work/map"
sed 's,//.*,,' "$headers"/*.h | grep -vE '^ *(typedef|#|static inline)' | grep -oE '\bzt_[a-z0-9_]+[[(]' | tr -d '[(' | sort -u > "$work/declared"
[ "$(wc -l < "$work/map")" -gt 20 ] || die "the map is empty"
diff "$work/map" "$work/exported" >&2 || die "exported (>) is not what the map lists (<)"
diff "$work/map" "$work/declared" >&2 || die "declared (>) is not what the map lists (<)"

for header in "$headers"/*.h; do
    name=zoetrope/${header##*/}
    for cc in gcc clang; do
        command -v $cc > /dev/null || continue
        printf '#include <%s>\n#include <%s>\nint nothing;\n' "$name" "$name" > "$work/alone.c"
        $cc -std=c11 -Wall -Wextra -Wpedantic -Wstrict-prototypes -Werror "${cflags[@]}" -fsyntax-only "$work/alone.c" || die "$name: not C alone"
    done
    command -v g++ > /dev/null || continue
    cp "$work/alone.c" "$work/alone.cc"
    g++ -std=c++17 -Wall -Wextra -Wpedantic -Werror "${cflags[@]}" -fsyntax-only "$work/alone.cc" || die "$name: not C++ alone"
done

cc=${CC:-cc}
printf '#include <stdio.h>\n#include <zoetrope/version.h>\nint main(void) { return printf("%%s %%s\\n", ZT_VERSION, zt_version()) < 0; }\n' > "$work/version.c"
$cc "${sanitize[@]}" "${cflags[@]}" "$work/version.c" -o "$work/version" "${libs[@]}"
version=$(pkg-config --modversion zoetrope)
[ "$("$work/version")" = "$version $version" ] || die "pkg-config says $version, header and library $("$work/version")"

$cc -std=c11 -Wall -Wextra -Werror "${sanitize[@]}" "${cflags[@]}" "$source/examples/frames.c" -o "$work/frames" "${libs[@]}"
export ZOETROPE_MODEL=$model
"$work/frames" "volcano at night" > "$work/library.y4m" || die "the example failed"
"$render" -q -m "$model" -p "volcano at night" -n 48 -o "$work/render.y4m"
cmp "$work/library.y4m" "$work/render.y4m" >&2 || die "the library's frames are not the render's"
"$work/frames" "forest in snow" > "$work/other.y4m"
! cmp -s "$work/other.y4m" "$work/library.y4m" || die "every prompt makes the same frames"
! ZOETROPE_MODEL=$work/none "$work/frames" > "$work/none.y4m" 2> "$work/said" || die "a missing model is no error"
[ "$(wc -l < "$work/said")" = 1 ] || die "a missing model: not one line but: $(cat "$work/said")"

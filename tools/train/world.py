# SPDX-License-Identifier: Apache-2.0
"""The world generator for Python: clips as numpy arrays, and contact sheets."""
import argparse
import ctypes
import hashlib
import os
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

PLACES = ['alps', 'desert', 'islands', 'volcano', 'meadow', 'canyon', 'ice', 'mars', 'snow', 'forest', 'city', 'swamp']
TIMES = ['dawn', 'day', 'sunset', 'dusk', 'night']
WEATHERS = ['clear', 'cloudy', 'fog', 'rain', 'snowfall', 'storm']
CONTROLS = 4


def _build():
    """The shared library, compiled into the user's cache unless these very sources are there."""
    folder = Path(__file__).resolve().parent / 'world'
    root = folder.parents[2]
    sources = sorted(folder.glob('*.c')) + [root / 'diffusion' / f for f in ('ground.c', 'exact.c')]
    flags = ['-std=c11', '-O3', '-ffp-contract=off', '-fno-math-errno', '-fno-trapping-math',
             '-shared', '-fPIC', f'-I{root}']
    if os.uname().machine == 'x86_64' and 'avx2' in Path('/proc/cpuinfo').read_text():
        flags.append('-march=x86-64-v3')
    digest = hashlib.sha256(' '.join(flags).encode())
    for path in sources + sorted(folder.glob('*.h')) + sorted((root / 'diffusion').glob('[eg]*.h')):
        digest.update(path.read_bytes())
    cache = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'zoetrope'
    out = cache / f'libzt_world-{digest.hexdigest()[:16]}.so'
    if not out.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as tmp:
            built = Path(tmp) / 'lib.so'
            subprocess.run([os.environ.get('CC', 'cc'), *flags, '-o', built, *sources, '-lm'],
                           check=True)
            built.replace(out)
    return out


def _load():
    lib = ctypes.CDLL(str(_build()))
    u64, i32, ptr = ctypes.c_uint64, ctypes.c_int, ctypes.c_void_p
    lib.world_clip.argtypes = [u64, i32, i32, i32, ptr, ptr, ptr]
    lib.world_script.argtypes = [u64, i32, ptr, ptr]
    lib.world_script.restype = None
    lib.world_replay.argtypes = [u64, i32, i32, i32, ptr, ptr, ptr]
    lib.world_see.argtypes = [u64, i32, i32, i32, i32, ptr, ptr, ptr]
    lib.zt_ground_of.restype, lib.zt_ground_of.argtypes = _Ground, [u64]
    lib.zt_ground_start.restype = Camera
    lib.zt_ground_climb.argtypes = [ptr, ctypes.c_float]
    return lib


class Camera(ctypes.Structure):
    """zt_ground_camera"""
    _fields_ = ([(n, ctypes.c_double) for n in ('x', 'z', 'yaw', 'sun')] +
                [(n, ctypes.c_float) for n in ('pitch', 'roll', 'y', 'rise')] + [('control', ctypes.c_float * 4)])


class _Ground(ctypes.Structure):
    _fields_ = [('seed', ctypes.c_uint64), ('side', ctypes.c_int)]


class _Sight(ctypes.Structure):
    _fields_ = ([('h', ctypes.c_int), ('w', ctypes.c_int)] + [(n, ctypes.c_void_p) for n in ('noise', 'column', 'ray')] +
                [('depths', ctypes.c_int)])


_lib = _load()


def _check(err):
    if err < 0:
        raise OSError(-err, os.strerror(-err))


def clip(seed, w, h, frames):
    """rgb uint8 [F][h][w][3], controls float32 [F][4], scene int32 [F][3] of one seed."""
    rgb = np.empty((frames, h, w, 3), np.uint8)
    controls = np.empty((frames, CONTROLS), np.float32)
    scene = np.empty((frames, 3), np.int32)
    _check(_lib.world_clip(seed, w, h, frames, rgb.ctypes.data, controls.ctypes.data,
                           scene.ctypes.data))
    return rgb, controls, scene


def script(seed, frames):
    """controls and scene of clip(seed, ...), without the pictures."""
    controls = np.empty((frames, CONTROLS), np.float32)
    scene = np.empty((frames, 3), np.int32)
    _lib.world_script(seed, frames, controls.ctypes.data, scene.ctypes.data)
    return controls, scene


def replay(seed, w, h, controls, scene):
    """rgb uint8 [F][h][w][3] for given controls [F][4] and scenes [F][3]."""
    controls = np.ascontiguousarray(controls, np.float32)
    scene = np.ascontiguousarray(scene, np.int32)
    frames = len(controls)
    if controls.shape != (frames, CONTROLS) or scene.shape != (frames, 3):
        raise ValueError('controls are [F][4] and scene is [F][3]')
    rgb = np.empty((frames, h, w, 3), np.uint8)
    _check(_lib.world_replay(seed, w, h, frames, controls.ctypes.data, scene.ctypes.data,
                             rgb.ctypes.data))
    return rgb


RAYS = 18, 32                           # latent pixels of the native picture
COLUMNS, DEPTHS, NOISES = RAYS[1] + 10, 72, 13


def see(seed, controls, scene):
    """What replay()'s cameras see: noise [F][42][72][13], column int32 [F][18][32], ray [F][18][32][4], height [F][42][72], camera [F][12]."""
    controls = np.ascontiguousarray(controls, np.float32)
    scene = np.ascontiguousarray(scene, np.int32)
    frames = len(controls)
    out = (np.empty((frames, COLUMNS, DEPTHS, NOISES), np.float32), np.empty((frames, *RAYS), np.int32),
           np.empty((frames, *RAYS, 4), np.float32), np.empty((frames, COLUMNS, DEPTHS), np.float32),
           np.empty((frames, 12), np.float32))
    pointers = (ctypes.c_void_p * 5)(*(a.ctypes.data for a in out))
    _check(_lib.world_see(seed, RAYS[1], RAYS[0], DEPTHS, frames, controls.ctypes.data, scene.ctypes.data, pointers))
    return out


class Flight:
    """The engine's camera over endless ground."""

    def __init__(self, seed, depths=DEPTHS):
        self.depths = depths
        self.ground = _lib.zt_ground_of(seed)
        self.camera = _lib.zt_ground_start(ctypes.byref(self.ground))

    def step(self, control):
        """One frame on -> noise [42][depths][13], column [18][32], ray [18][32][4]; the height comes after (climb)."""
        control = np.ascontiguousarray(control, np.float32)
        noise, column = np.empty((COLUMNS, self.depths, NOISES), np.float32), np.empty(RAYS, np.int32)
        ray = np.empty((*RAYS, 4), np.float32)
        _lib.zt_ground_step(ctypes.byref(self.ground), ctypes.byref(self.camera), ctypes.c_void_p(control.ctypes.data))
        sight = _Sight(*RAYS, noise.ctypes.data, column.ctypes.data, ray.ctypes.data, self.depths)
        _lib.zt_ground_look(ctypes.byref(self.ground), ctypes.byref(self.camera), ctypes.byref(sight))
        return noise, column, ray

    def climb(self, ahead):
        """-> y, and the angle of the camera from the light"""
        _lib.zt_ground_climb(ctypes.byref(self.camera), float(ahead))
        return self.camera.y, self.camera.yaw - self.camera.sun


def clips(seeds, w, h, frames, threads=2):
    """clip() of several seeds, stacked: rgb [N][F][h][w][3], controls [N][F][4], scene [N][F][3].

    ctypes releases the interpreter's lock while a clip renders."""
    seeds = [int(s) for s in seeds]
    rgb = np.empty((len(seeds), frames, h, w, 3), np.uint8)
    controls = np.empty((len(seeds), frames, CONTROLS), np.float32)
    scene = np.empty((len(seeds), frames, 3), np.int32)

    def one(i):
        _check(_lib.world_clip(seeds[i], w, h, frames, rgb[i].ctypes.data,
                               controls[i].ctypes.data, scene[i].ctypes.data))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(len(seeds))))
    return rgb, controls, scene


def write_png(path, picture):
    """picture: uint8 [h][w][3]."""
    h, w, _ = picture.shape
    rows = np.zeros((h, 1 + w * 3), np.uint8)
    rows[:, 1:] = picture.reshape(h, w * 3)

    def chunk(kind, data):
        body = kind + data
        return len(data).to_bytes(4, 'big') + body + zlib.crc32(body).to_bytes(4, 'big')

    head = w.to_bytes(4, 'big') + h.to_bytes(4, 'big') + bytes([8, 2, 0, 0, 0])
    Path(path).write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) +
                           chunk(b'IDAT', zlib.compress(rows.tobytes(), 6)) + chunk(b'IEND', b''))


def sheet(seed, w, h, places=None):
    """Places down; all times in clear air, then the other weathers by day, across."""
    still = np.zeros((1, CONTROLS), np.float32)
    looks = [(t, 0) for t in range(len(TIMES))] + [(TIMES.index('day'), v) for v in range(1, len(WEATHERS))]
    rows = [np.concatenate([replay(seed + p, w, h, still, [[p, *look]])[0] for look in looks], axis=1)
            for p in map(PLACES.index, places or PLACES)]
    return np.concatenate(rows, axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--sheet', metavar='PNG', help='places x (times in clear air, other weathers by day)')
    parser.add_argument('--places', nargs='+', choices=PLACES, metavar='PLACE', help='of the sheet; all unless given')
    parser.add_argument('--strip', metavar='PNG', help='one clip, 4 frames a row')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--size', type=int, nargs=2, default=[256, 144], metavar=('W', 'H'))
    parser.add_argument('--frames', type=int, default=16)
    args = parser.parse_args()
    w, h = args.size
    if args.sheet:
        write_png(args.sheet, sheet(args.seed, w, h, args.places))
    if args.strip:
        rgb, _, scene = clip(args.seed, w, h, args.frames // 4 * 4)
        print(' '.join(f'{PLACES[p]}/{TIMES[t]}/{WEATHERS[v]}' for p, t, v in
                       np.unique(scene, axis=0)))
        write_png(args.strip, rgb.reshape(-1, 4, h, w, 3).transpose(0, 2, 1, 3, 4)
                  .reshape(-1, 4 * w, 3))
    if not args.sheet and not args.strip:
        parser.print_usage(sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())

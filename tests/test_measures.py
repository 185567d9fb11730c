#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# tools/train/measures.py measures what it says: arrays whose answers are known. Usage: test_measures.py FOLDER
import sys

try:
    import numpy as np
except ImportError:
    print('skipped: this python3 has no NumPy')
    sys.exit(77)
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import measures

rng = np.random.default_rng(1)
failed = 0


def near(value, wanted, slack, what):
    global failed
    if not np.all(np.abs(np.asarray(value, float) - wanted) <= slack):
        print(f'FAIL: {what}: {str(value)[:200]}, wanted {wanted} within {slack}', flush=True)
        failed = 1


def grey(y):
    return np.repeat(np.clip(y, 0, 255).round().astype(np.uint8)[..., None], 3, -1)


def texture(h, w, dx=0.0, dy=0.0, seed=2):
    """Smooth noise [h, w] about 128, periodic, moved right by dx and down by dy: exact for fractions, too."""
    spectrum = np.fft.fft2(np.random.default_rng(seed).normal(size=(h, w)))
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None]
    spectrum *= np.exp(-40 * (fx ** 2 + fy ** 2) - 2j * np.pi * (fx * dx + fy * dy))
    y = np.fft.ifft2(spectrum).real
    return (128 + 30 * y / y.std()).astype(np.float32)


# Light: red is 0.299 * 200, and 200 from the greyest colour; a flat picture has no detail, a checkerboard of +-10 nearly all.
red = np.zeros((4, 16, 16, 3), np.uint8)
red[..., 0] = 200
near(measures.brightness(red), 59.8, 0.01, 'luma of red')
near(measures.saturation(red), 200, 0, 'saturation of red')
near(measures.detail(red), 0, 1e-6, 'detail of a flat picture')
board = 128 + 10 * (-1.0) ** np.add(*np.indices((16, 16)))
near(measures.detail(grey(board)), (10 - 10 / 9) ** 2, 1e-3, 'detail of a checkerboard')
near(measures.halved(grey(board)), 128, 0, 'half of a checkerboard')

# Likeness: an error of 5 levels everywhere, and of two pictures the mean in dB.
flat = np.full((2, 32, 32, 3), 100, np.uint8)
near(measures.psnr(flat, flat + 5), 10 * np.log10(255 ** 2 / 25), 1e-3, 'PSNR of an error of 5')
both = np.stack([flat[0] + 5, flat[0] + 10])
near(measures.psnr(flat, both), (34.1514 + 28.1308) / 2, 1e-3, 'PSNR over pictures')
picture = grey(texture(64, 96))
near(measures.ssim(picture, picture), 1, 1e-6, 'SSIM of a picture and itself')
c1, a, b = (0.01 * 255) ** 2, 2, 4
near(measures.ssim(flat - 98, flat - 96), (2 * a * b + c1) / (a * a + b * b + c1), 1e-4, 'SSIM of two flat pictures')
noise = picture.astype(float)[..., 0] + rng.normal(0, 20, picture.shape[:2])
near(measures.ssim(picture, grey(noise)), 0.5, 0.3, 'SSIM of a noisy picture')

# Movement: whole pixels exactly but at the edges, fractions to 0.25, for a parabola bends them; flat pictures do not take part.
still = texture(144, 256)
inner = slice(1, -1), slice(1, -1)
dx, dy, busy = measures.block_flow(still, texture(144, 256, 3, -2))
near(dx[inner], 3, 0.05, 'movement to the right')
near(dy[inner], -2, 0.05, 'movement up')
near(busy.mean(), 1, 0, 'blocks with texture')
dx, dy, _ = measures.block_flow(still, texture(144, 256, 0.5, 1.25))
near(dx[inner], 0.5, 0.25, 'half a pixel')
near(dy[inner], 1.25, 0.25, 'a pixel and a quarter')
near(measures.block_flow(np.full((32, 32), 9, np.float32), np.full((32, 32), 9, np.float32))[2].sum(), 0, 0, 'flat blocks')
pan = np.stack([grey(texture(144, 256, 3 * f, 4 * f)) for f in range(4)])
near(measures.flow(pan), 5, 0.3, 'five pixels a frame')
near(measures.flow(np.repeat(pan[:1], 3, 0)), 0, 0.05, 'a still clip')
near(measures.offset(still, texture(144, 256, -24, 32)), (-24, 32), 0, 'offset of whole pictures')


# Steering: clips of a texture that turns right (the picture goes left), tilts up, hurries and lifts.
def clip_of(move):
    return np.stack([grey(texture(144, 256, *move(max(0, f - 7)))) for f in range(24)])


rest = clip_of(lambda t: (0, 0))
for name, move in (('yaw', lambda t: (-4 * t, 0)), ('pitch', lambda t: (0, 4 * min(t, 5))), ('speed', lambda t: (0, 2 * t)),
                   ('climb', lambda t: (0, min(t, 6)))):
    measure = measures.STEERED[name]
    near(measure(clip_of(move), rest, 8) > measure(rest, rest, 8) + 0.5, True, 0, name + ' up')
    if name != 'speed':
        near(measure(clip_of(lambda t: tuple(-u for u in move(t))), rest, 8) < -0.5, True, 0, name + ' down')

# A flash of 40 levels between a scene of 100 and one of 120 leaves their span by 20; one towards the dark by 10.
light = np.array([100.] * 8 + [140.] + [120.] * 8)
near(measures.excursion(light, slice(0, 6), slice(10, 17)), 20, 1e-9, 'flash')
light[8] = 90
near(measures.excursion(light, slice(0, 6), slice(10, 17)), 10, 1e-9, 'dip')
light[8] = 110
near(measures.excursion(light, slice(0, 6), slice(10, 17)), 0, 0, 'morph')

# Distance: of Gaussians N(m, diag s^2) it is |m - n|^2 + sum (s - t)^2, whatever the rotation.
q = np.linalg.qr(rng.normal(size=(4, 4)))[0]
x, y = rng.normal(size=(2, 200000, 4))
s, t, shift = np.array([1, 2, 0.5, 3.]), np.array([2, 2, 1, 1.]), np.array([1, 0, -2, 0.5])
near(measures.frechet((x * s) @ q, (y * t + shift) @ q), (shift ** 2).sum() + ((s - t) ** 2).sum(), 0.15, 'Fréchet distance')
near(measures.frechet(x, x), 0, 1e-6, 'Fréchet distance to itself')
near(measures.root(np.diag([4., 9])), np.diag([2., 3]), 1e-9, 'matrix root')

# Figures: bounds on both sides; what does not hold is named.
out = {'a': {'b': measures.figure(0.7, 0.8, 1.25), 'c': measures.figure(1.3, 0.8, 1.25)}, 'd': measures.figure(0.8, 0.8, 0.8), 'e': measures.figure(5)}
near(measures.missed(out)[0] == ['a.b', 'a.c'] and measures.missed(out)[1] == 3, True, 0, 'figures that are missed')
near(measures.geometric([2, 8]), 4, 1e-9, 'geometric mean')
print('failed' if failed else 'good')
sys.exit(failed)

# SPDX-License-Identifier: Apache-2.0
"""Measures of pictures uint8 [..., h, w, 3] and of features: light, detail, likeness, movement, distance. NumPy."""
import numpy as np


def figure(value, low=None, high=None):
    """A figure with what is wanted of it, for JSON."""
    out = {"is": round(float(value), 4)}
    if low is not None or high is not None:
        out["wanted"] = [low, high]
        out["holds"] = bool((low is None or value >= low) and (high is None or value <= high))
    return out


def missed(figures, path=""):
    """Paths of the figures that do not hold, and how many are wanted."""
    if not isinstance(figures, dict):
        return [], 0
    if "holds" in figures:
        return ([] if figures["holds"] else [path.strip(".")]), 1
    parts = [missed(v, f"{path}.{k}") for k, v in figures.items()]
    return [p for names, _ in parts for p in names], sum(n for _, n in parts)


def geometric(values):
    """Mean of ratios; figures that are nought or no number would make it so, too."""
    return float(np.exp(np.mean(np.log(values))))


# ---- light and detail

def luma(rgb):
    return rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def brightness(rgb):
    return float(luma(rgb).mean())


def saturation(rgb):
    """Mean of max - min over the colours."""
    return float((rgb.max(-1) - rgb.min(-1)).mean(dtype=np.float64))


def detail(rgb):
    """High-frequency energy: mean square of what a 3x3 box filter takes away."""
    y = luma(rgb)
    box = sum(np.roll(y, (a, b), (-2, -1)) for a in (-1, 0, 1) for b in (-1, 0, 1)) / 9
    return float(((y - box)[..., 1:-1, 1:-1] ** 2).mean())


def halved(rgb):
    """Half the size, by means of 2 x 2 pixels."""
    *lead, h, w, c = rgb.shape
    return rgb.reshape(*lead, h // 2, 2, w // 2, 2, c).mean((-4, -2)).round().astype(np.uint8)


# ---- likeness

def psnr(a, b):
    """Mean PSNR in dB over pictures; equal ones count as 100 dB."""
    mse = ((a.astype(np.float32) - b.astype(np.float32)) ** 2).reshape(-1, np.prod(a.shape[-3:])).mean(1)
    return float((10 * np.log10(255 ** 2 / np.maximum(mse, 255 ** 2 * 1e-10))).mean())


def blurred(x, sigma=1.5, reach=5):
    """Gaussian of 2 reach + 1 taps over the last two axes, where it fits."""
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    n = 2 * reach
    x = sum(t * x[..., i:x.shape[-2] - n + i, :] for i, t in enumerate(taps))
    return sum(t * x[..., i:x.shape[-1] - n + i] for i, t in enumerate(taps))


def ssim(a, b):
    """Mean SSIM of luma (Wang et al. 2004: Gaussian of 1.5 pixels, K 0.01 and 0.03)."""
    a, b = luma(a), luma(b)
    ma, mb = blurred(a), blurred(b)
    va, vb, cov = blurred(a * a) - ma * ma, blurred(b * b) - mb * mb, blurred(a * b) - ma * mb
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float((((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2))).mean())


# ---- movement

PLAIN = 6.0             # levels: blocks that deviate by less are left out
STILL = 0.02            # squared levels of cost per squared pixel of movement: a plain block does not move


def peak(left, middle, right):
    """Where between -0.5 and 0.5 the parabola through three costs has its least."""
    curve = left - 2 * middle + right
    return np.clip(np.where(curve > 1e-6, 0.5 * (left - right) / np.maximum(curve, 1e-6), 0), -0.5, 0.5)


def block_flow(a, b, block=16, reach=8):
    """Movement of luma a [h, w] to luma b: dx, dy [rows, columns] of its blocks in pixels (+: right, down), to about
    0.2 pixels, and which blocks have texture."""
    h, w = (n // block * block for n in a.shape)
    a, rows, columns = a[:h, :w], h // block, w // block
    padded, span = np.pad(b, reach, mode="edge"), 2 * reach + 1
    cost = np.empty((span, span, rows, columns), np.float32)
    for dy in range(span):
        for dx in range(span):
            error = (padded[dy:dy + h, dx:dx + w] - a) ** 2
            cost[dy, dx] = error.reshape(rows, block, columns, block).mean((1, 3))
            cost[dy, dx] += STILL * ((dx - reach) ** 2 + (dy - reach) ** 2)
    best = cost.reshape(span * span, rows, columns).argmin(0)
    y, x = best // span, best % span
    r, c = np.indices((rows, columns))
    yi, xi = np.clip(y, 1, span - 2), np.clip(x, 1, span - 2)
    fine_y = np.where(y == yi, peak(cost[yi - 1, x, r, c], cost[yi, x, r, c], cost[yi + 1, x, r, c]), 0)
    fine_x = np.where(x == xi, peak(cost[y, xi - 1, r, c], cost[y, xi, r, c], cost[y, xi + 1, r, c]), 0)
    busy = a.reshape(rows, block, columns, block).std((1, 3)) > PLAIN
    return x - reach + fine_x, y - reach + fine_y, busy


def flow(frames, every=1, gap=1):
    """Median over pictures `gap` apart of the mean movement of blocks with texture, in pixels."""
    out = []
    for i in range(0, len(frames) - gap, every):
        dx, dy, busy = block_flow(luma(frames[i]), luma(frames[i + gap]))
        if busy.sum() >= 4:
            out.append(float(np.hypot(dx, dy)[busy].mean()))
    return float(np.median(out)) if out else 0.0


def offset(a, b, reach=(48, 48)):
    """Movement (dx, dy) of the whole picture from luma a to luma b, in steps of four pixels: least squares."""
    h, w = a.shape[0] // 4, a.shape[1] // 4
    a, b = (u[:4 * h, :4 * w].reshape(h, 4, w, 4).mean((1, 3)) for u in (a, b))
    best = np.inf, 0, 0
    for dy in range(-reach[1] // 4, reach[1] // 4 + 1):
        for dx in range(-reach[0] // 4, reach[0] // 4 + 1):
            p = a[max(0, -dy):h - max(0, dy), max(0, -dx):w - max(0, dx)]
            q = b[max(0, dy):h - max(0, -dy), max(0, dx):w - max(0, -dx)]
            best = min(best, (float(((p - q) ** 2).mean()), 4 * dx, 4 * dy))
    return best[1:]


def mean_flow(a, b):
    """Mean (dx, dy) of the blocks with texture, from picture a to b; (0, 0) without any."""
    dx, dy, busy = block_flow(luma(a), luma(b))
    return (float(dx[busy].mean()), float(dy[busy].mean())) if busy.any() else (0.0, 0.0)


def turned(clip, still, onset):
    """The picture goes left, once the bank is steady."""
    return -float(np.mean([mean_flow(clip[f - 1], clip[f])[0] for f in (onset + 9, onset + 12, onset + 15)]))


def tilted(clip, still, onset):
    """The whole picture lies lower than the neutral one."""
    at = (onset + 4, onset + 5, onset + 6)
    return float(np.mean([offset(luma(still[f]), luma(clip[f]), (0, 48))[1] for f in at]))


def hurried(clip, still, onset):
    """The ground goes by."""
    return flow(clip[onset + 4:], 3, 3)


def lifted(clip, still, onset):
    """The ground in the lower half lies lower than the neutral one's."""
    low = clip.shape[1] // 2
    return float(np.mean([mean_flow(still[f, low:], clip[f, low:])[1] for f in (onset + 5, onset + 7)]))


# What each control makes larger in a clip whose first `onset` frames are those of a neutral one; 16 frames on.
STEERED = {"yaw": turned, "pitch": tilted, "speed": hurried, "climb": lifted}


# ---- light over time

def excursion(light, before, after):
    """How far a series leaves the span of two of its parts, in its own units."""
    inside = np.concatenate([light[before], light[after]])
    return float(max(light.max() - inside.max(), inside.min() - light.min(), 0))


# ---- distance

def root(m):
    """Square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh((m + m.T) / 2)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def frechet(a, b):
    """Squared Fréchet distance of the Gaussians of two sets of features [n, d]."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    ra = root(ca)
    cross = root(ra @ cb @ ra)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca) + np.trace(cb) - 2 * np.trace(cross))

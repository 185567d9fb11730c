# SPDX-License-Identifier: Apache-2.0
"""Measures on pictures (uint8 [..., h, w, 3]): brightness, saturation, sharpness, movement; and a small classifier of prompts."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def luma(rgb):
    return rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def brightness(rgb):
    return float(luma(rgb).mean())


def saturation(rgb):
    """Mean of max - min over the colours."""
    x = rgb.astype(np.float32)
    return float((x.max(-1) - x.min(-1)).mean())


def detail(rgb):
    """High-frequency energy: mean square of what a 3x3 box filter takes away."""
    y = luma(rgb)
    box = sum(np.roll(y, (a, b), (-2, -1)) for a in (-1, 0, 1) for b in (-1, 0, 1)) / 9
    return float(((y - box)[..., 1:-1, 1:-1] ** 2).mean())


def shift(a, b, reach=24):
    """Horizontal movement in pixels from picture a to b by phase correlation (+: the picture moved right)."""
    a, b = (luma(u) for u in (a, b))
    window = np.hanning(a.shape[0])[:, None] * np.hanning(a.shape[1])[None]
    fa, fb = (np.fft.rfft2((u - u.mean()) * window) for u in (a, b))
    cross = fb * np.conj(fa)
    c = np.fft.irfft2(cross / (np.abs(cross) + 1e-3 * np.abs(cross).max() + 1e-9), a.shape)
    rows = c[:4].max(0)
    rows = np.maximum(rows, c[-4:].max(0))
    span = np.concatenate([rows[-reach:], rows[:reach + 1]])
    return int(span.argmax()) - reach


def flow(frames, block=16, reach=8, every=1):
    """Median length of block movements between pictures of a clip [F, h, w, 3], in pixels, by block matching; flat blocks are left out."""
    out = []
    for a, b in zip(frames[:-1:every], frames[1::every]):
        a, b = luma(a), luma(b)
        h, w = (n // block * block for n in a.shape)
        best = np.full((h // block, w // block), np.inf, np.float32)
        length = np.zeros_like(best)
        padded = np.pad(b, reach, mode="edge")
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                moved = padded[reach + dy:reach + dy + h, reach + dx:reach + dx + w]
                cost = np.abs(moved - a[:h, :w]).reshape(h // block, block, w // block, block).mean((1, 3))
                cost += 0.02 * np.hypot(dx, dy)
                better = cost < best
                best[better], length[better] = cost[better], np.hypot(dx, dy)
        busy = a[:h, :w].reshape(h // block, block, w // block, block).std((1, 3)) > 6
        if busy.sum() >= 4:
            out.append(float(np.mean(length[busy])))
    return float(np.median(out)) if out else 0.0


class Classifier(nn.Module):
    """Which of n prompts a picture shows; reads it at 64 x 36."""

    def __init__(self, n):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 48, 3, 2, 1), nn.ReLU(),
                                 nn.Conv2d(48, 64, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(),
                                 nn.Dropout(0.2), nn.Linear(256, n))

    def forward(self, x):
        return self.net(x)


def small(rgb):
    """uint8 [N, h, w, 3] -> float [N, 3, 36, 64]."""
    x = torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.interpolate(x, (36, 64), mode="area")


def train_classifier(pictures, labels, classes, seed=0, epochs=25):
    """Trained on renders only -> (classifier, accuracy on the last eighth, which it has not seen)."""
    torch.manual_seed(seed)
    x, y = small(pictures), torch.as_tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    held, used = order[:len(x) // 8], order[len(x) // 8:]
    net = Classifier(classes)
    opt = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.02)
    batches = max(1, len(used) // 64)
    for epoch in range(epochs):
        for part in used[torch.randperm(len(used))].chunk(batches):
            z = x[part] * (0.9 + 0.2 * torch.rand(len(part), 1, 1, 1)) + 0.05 * torch.randn(len(part), 3, 1, 1)
            z = torch.where(torch.rand(len(part), 1, 1, 1) < 0.5, z.flip(-1), z)
            loss = F.cross_entropy(net(z), y[part])
            opt.zero_grad()
            loss.backward()
            opt.step()
        for g in opt.param_groups:
            g["lr"] = 2e-3 * (1 - (epoch + 1) / epochs) + 1e-5
    net.eval().requires_grad_(False)
    return net, float((net(x[held]).argmax(1) == y[held]).float().mean())

# SPDX-License-Identifier: Apache-2.0
"""Tells place, time and weather of a picture; trained from a seed on renders only, and kept in the user's cache."""
import hashlib
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import measures
import tensors
import world

WORLDS = 5000                   # one picture each
SEEDS = 2 * 10 ** 9             # neither training nor evaluation uses these worlds
EPOCHS, BATCH, RATE = 12, 64, 2e-3
WIDTHS, FEATURES = (24, 48, 96, 128), 64
SIZE = 256, 144
HERE = Path(__file__).resolve().parent


class Classifier(nn.Module):
    """Pictures [N, 3, 72, 128] -> features [N, FEATURES]; heads() -> logits of each attribute."""

    def __init__(self, counts):
        super().__init__()
        layers, before = [], 3
        for width in WIDTHS:
            layers += [nn.Conv2d(before, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d((4, 4)), nn.Flatten(), nn.Dropout(0.2))
        self.features = nn.Linear(16 * before, FEATURES)
        self.heads = nn.ModuleList(nn.Linear(FEATURES, n) for n in counts)

    def forward(self, x):
        return self.features(self.body(x))

    def logits(self, features):
        return [head(F.relu(features)) for head in self.heads]


def inputs(small):
    """uint8 [N, 72, 128, 3] -> [N, 3, 72, 128]."""
    x = torch.from_numpy(np.ascontiguousarray(small)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x.contiguous(memory_format=torch.channels_last)


def varied(x, rng):
    """Mirrored, a little brighter or darker, at times softer, with noise: what must not matter."""
    n = len(x)
    chance = lambda: torch.rand(n, 1, 1, 1, generator=rng)
    x = torch.where(chance() < 0.5, x.flip(-1), x)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = x + torch.where(chance() < 0.5, chance(), torch.zeros(n, 1, 1, 1)) * (soft - x)
    x = (x + 1) * (0.95 + 0.1 * chance()) - 1
    return x + 0.03 * torch.randn(x.shape, generator=rng)


class Known:
    """A trained classifier with the ids that its classes stand for."""

    def __init__(self, net, scope):
        self.net, self.scope = net.eval().requires_grad_(False), scope

    def features(self, rgb):
        """uint8 [N, 144, 256, 3] -> [N, FEATURES]."""
        parts = [self.net(inputs(measures.halved(rgb[i:i + 64]))) for i in range(0, len(rgb), 64)]
        return torch.cat(parts).numpy()

    def scene(self, features):
        """What the pictures of one clip show, together: place, time and weather as world ids."""
        chance = [F.softmax(v, 1).mean(0) for v in self.net.logits(torch.from_numpy(features))]
        return tuple(ids[int(c.argmax())] for ids, c in zip(self.scope, chance))


def scenes_of(scope, n, rng):
    """n scenes [n, 3] in which the values of each attribute are about equally frequent, independently."""
    columns = [rng.permutation(np.resize(np.array(ids, np.int32), n)) for ids in scope]
    return np.stack(columns, 1)


def renders(scope, threads=2):
    """-> uint8 [WORLDS, 72, 128, 3], classes [WORLDS, 3]."""
    scenes = scenes_of(scope, WORLDS, np.random.default_rng(SEEDS))
    out = np.empty((WORLDS, SIZE[1] // 2, SIZE[0] // 2, 3), np.uint8)

    def one(i):
        controls = world.script(SEEDS + i, 1)[0]
        out[i] = measures.halved(world.replay(SEEDS + i, *SIZE, controls, scenes[i:i + 1])[0])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(WORLDS)))
    classes = np.stack([np.searchsorted(ids, scenes[:, k]) for k, ids in enumerate(scope)], 1)
    return out, torch.from_numpy(classes)


def trained(scope):
    pictures, classes = renders(scope)
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    net = Classifier([len(ids) for ids in scope]).to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.02)
    steps = EPOCHS * (WORLDS // BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(opt, RATE, steps)
    for epoch in range(EPOCHS):
        order = torch.randperm(WORLDS, generator=rng)
        for part in order[:WORLDS // BATCH * BATCH].view(-1, BATCH):
            with torch.autocast("cpu", torch.bfloat16):
                features = net(varied(inputs(pictures[part.numpy()]), rng))
            logits = net.logits(features.float())
            loss = sum(F.cross_entropy(v, classes[part, k], label_smoothing=0.05) for k, v in enumerate(logits))
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            rate.step()
    return net


def kept_at(scope):
    """The file for this generator, these settings and these words."""
    root = HERE.parents[1]
    digest = hashlib.sha256(repr(scope).encode())
    for path in [*sorted((HERE / "world").glob("*.[ch]")), root / "diffusion" / "ground.c", Path(__file__)]:
        digest.update(path.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "zoetrope"
    return cache / f"classifier-{digest.hexdigest()[:16]}.safetensors"


def load(scope):
    """The classifier for world ids `scope` (places, times, weathers), trained if it is not there yet."""
    path = kept_at(scope)
    net = Classifier([len(ids) for ids in scope])
    if not path.exists():
        print("training the classifier of renders", file=sys.stderr, flush=True)
        start = time.time()
        state = trained(scope).state_dict()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        tensors.write(part, state)
        part.replace(path)
        print(f"trained in {time.time() - start:.0f} s", file=sys.stderr, flush=True)
    net.load_state_dict(tensors.read(path))
    return Known(net, scope)

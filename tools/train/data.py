# SPDX-License-Identifier: Apache-2.0
"""Training data: rendered clips for the autoencoder, and encoded clips on disk for the transformer."""
import json
import os

import numpy as np
import torch

import world
from ae import to_unit

SMALL, FULL = (144, 80), (256, 144)
UNSEEN = 10 ** 9                        # seeds from here on are never trained on
# One world per place opens a stream: its first frame, in every light and weather, is all that the model learns to draw from nothing.
OPENINGS = (7006, 7001, 7002, 7002, 7003, 7004, 7010, 7001)
USUAL = (0, 1, 0)                       # place, time and weather of a prompt that leaves them open
FIRST = {"place": 1, "time": 9, "weather": 13}


def render(seeds, size, frames):
    """-> rgb uint8 [N, F, h, w, 3], controls float32 [N, F, 4], scene int32 [N, F, 3] (torch tensors)."""
    rgb, controls, scene = world.clips(list(seeds), size[0], size[1], frames)[:3]
    return torch.from_numpy(rgb), torch.from_numpy(controls), torch.from_numpy(scene)


def tokens(scene):
    """Scene ids [..., 3] -> token ids [..., 4]: token 0, place, time, weather."""
    first = torch.tensor(list(FIRST.values()), dtype=torch.int64)
    ids = scene.long() + first
    return torch.cat([torch.zeros_like(ids[..., :1]), ids], -1)


def drop_tokens(ids, rng, place=0.05, time=0.15, weather=0.15):
    """Leaves words out of the prompts of whole clips: ids [B, F, 4] -> the same with -1 in places."""
    p = torch.tensor([0.0, place, time, weather])
    gone = torch.rand(ids.shape[0], 1, 4, generator=rng) < p
    return ids.masked_fill(gone, -1)


@torch.no_grad()
def openings(encoder, size):
    """Latents [8 * 4 * 3, 16, h, w] of the openings in the order place, time, weather."""
    still = np.zeros((1, 4), np.float32)
    rgb = [world.replay(OPENINGS[p], *size, still, np.array([[p, t, v]], np.int32))[0] for p in range(8) for t in range(4) for v in range(3)]
    x = to_unit(torch.from_numpy(np.stack(rgb))).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        return encoder(x).float()


def opening_of(latents, ids):
    """The openings of token ids [B, L] (in any order): latents [B, 16, h, w]."""
    at = 0
    for first, usual, size in zip(FIRST.values(), USUAL, (8, 4, 3)):
        named = torch.where((ids >= first) & (ids < first + size), ids - first, torch.full_like(ids, -1)).max(1).values
        at = at * size + torch.where(named < 0, torch.full_like(named, usual), named)
    return latents[at]


def sample_openings(latents, n, rng):
    """-> latents [n, 16, h, w], token ids [n, 4] with words left out (then it is the usual one)."""
    count = torch.tensor([8, 4, 3])
    scene = (torch.rand(n, 3, generator=rng) * count).long()
    gone = torch.rand(n, 3, generator=rng) < torch.tensor([0.05, 0.2, 0.35])
    shown = torch.where(gone, torch.tensor(USUAL).expand(n, 3), scene)
    ids = tokens(scene)
    ids[:, 1:].masked_fill_(gone, -1)
    return latents[(shown[:, 0] * 4 + shown[:, 1]) * 3 + shown[:, 2]], ids


class Frames:
    """Frames of clips: latents [n, 16, h, w], control [n, 4], ids [n, L], sight as dit.Ground takes it."""

    def __init__(self, latents, control, ids, sight):
        self.latents, self.control, self.ids, self.sight = latents, control, ids, sight


def joined(*parts):
    return Frames(*(torch.cat([getattr(p, n) for p in parts]) for n in ("latents", "control", "ids")),
                  [torch.cat(u) for u in zip(*(p.sight for p in parts))])


def sight_of(noise, column, ray, height, camera):
    """world.see()'s arrays -> what dit.Ground takes."""
    turn = camera[:, 2] - camera[:, 3]
    return noise.float(), column.long(), ray.float(), torch.stack([camera[:, 6], turn.cos(), turn.sin()], 1)


class Seen:
    """Encoded clips in a folder with the ground that their cameras see: arrays as world.see() gives them, floats halved."""

    def __init__(self, folder):
        load = lambda n: np.load(os.path.join(folder, n + ".npy"), mmap_mode="r")
        self.latents, self.controls, self.scenes = load("latents"), load("controls"), load("scenes")
        self.noise, self.column, self.ray, self.camera = load("noise"), load("column"), load("ray"), load("camera")
        self.frames, self.done = self.latents.shape[1], int(open(os.path.join(folder, "seen-0")).read())

    def true(self, clip, at, n):
        return torch.from_numpy(self.latents[clip, at:at + n]).float()

    def words(self, clip, at):
        cut = lambda a: torch.from_numpy(np.ascontiguousarray(a[clip, at]))
        return cut(self.controls), tokens(cut(self.scenes))

    def frame(self, clip, at):
        """Frames `at` of clips `clip`, lists of equal length."""
        cut = lambda a: torch.from_numpy(np.ascontiguousarray(a[clip, at]))
        sight = sight_of(cut(self.noise), cut(self.column), cut(self.ray), None, cut(self.camera))
        return Frames(cut(self.latents).float(), *self.words(clip, at), sight)


class Latents:
    """Encoded clips in a folder, memory-mapped: latents f16 [N, F, 16, h, w], controls [N, F, 4], scenes [N, F, 3].

    They are made in pieces, so that a job that was cut short goes on where it stopped."""

    def __init__(self, folder, size, clips, frames):
        self.folder, self.size, self.clips, self.frames = folder, size, clips, frames
        os.makedirs(folder, exist_ok=True)
        h, w = size[1] // 8, size[0] // 8
        self.latents = self.array("latents", np.float16, (clips, frames, 16, h, w))
        self.controls = self.array("controls", np.float32, (clips, frames, 4))
        self.scenes = self.array("scenes", np.int32, (clips, frames, 3))
        self.note = os.path.join(folder, "done.json")
        self.done = json.load(open(self.note))["done"] if os.path.exists(self.note) else 0

    def array(self, name, dtype, shape):
        path = os.path.join(self.folder, name + ".npy")
        if os.path.exists(path):
            return np.load(path, mmap_mode="r+")
        return np.lib.format.open_memmap(path, "w+", dtype, shape)

    @torch.no_grad()
    def extend(self, encoder, first_seed, count=16):
        """Renders and encodes `count` more clips (fewer at the end)."""
        a, b = self.done, min(self.done + count, self.clips)
        rgb, controls, scene = [], [], []
        for seed in range(first_seed + a, first_seed + b):
            c, s = world.script(seed, self.frames)
            start = seed if seed % 2 else OPENINGS[s[0, 0]]                                # every other clip flies on from an opening
            rgb.append(torch.from_numpy(world.replay(start, *self.size, c, s)))
            controls.append(c)
            scene.append(s)
        for i in range(b - a):
            x = to_unit(rgb[i]).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                self.latents[a + i] = encoder(x).float().numpy().astype(np.float16)
        self.controls[a:b], self.scenes[a:b] = np.stack(controls), np.stack(scene)
        self.done = b
        with open(self.note, "w") as f:
            json.dump({"done": b}, f)

    def sample(self, n, frames, rng, newest=None):
        """n random sub-clips -> latents [n, F, 16, h, w], controls [n, F, 4], token ids [n, F, 4]."""
        clip = torch.randint(self.done, (n,), generator=rng).tolist()
        at = torch.randint(self.frames - frames + 1, (n,), generator=rng).tolist()
        cut = lambda a: torch.from_numpy(np.stack([a[c, s:s + frames] for c, s in zip(clip, at)]))
        return cut(self.latents).float(), cut(self.controls), tokens(cut(self.scenes))

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
KINDS = {"place": len(world.PLACES), "time": len(world.TIMES), "weather": len(world.WEATHERS)}
FIRST = {k: 1 + sum(list(KINDS.values())[:i]) for i, k in enumerate(KINDS)}             # the token of a kind's id 0


def country(seed, i):
    """The world of the i-th of several streams that begin from `seed`; none of them is trained on."""
    return seed * 64 + i


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


def shares(stores, n):
    """How many of n frames come from which store: by the clips that they hold."""
    clips = [s.done for s in stores]
    some = [n * c // sum(clips) for c in clips]
    return [n - sum(some[1:]), *some[1:]]


def steady(seed, frames):
    """As world.script(), but as people fly: straight on, half of the time with one control held over the later half; one scene."""
    rng = np.random.default_rng(seed)
    controls = np.zeros((frames, 4), np.float32)
    if rng.random() < 0.5:
        controls[frames // 2:, rng.integers(4)] = rng.uniform(-1, 1)
    return controls, np.tile(rng.integers(list(KINDS.values())).astype(np.int32), (frames, 1))


class Seen:
    """Encoded clips in a folder with the ground that their cameras see: arrays as world.see() gives them, floats halved. Made in pieces."""

    ARRAYS = {"latents": (np.float16, (16, *world.RAYS)), "controls": (np.float32, (4,)), "scenes": (np.int32, (3,)),
              "noise": (np.float16, (world.COLUMNS, world.DEPTHS, world.NOISES)), "column": (np.uint8, world.RAYS),
              "ray": (np.float16, (*world.RAYS, 4)), "height": (np.float16, (world.COLUMNS, world.DEPTHS)), "camera": (np.float32, (12,))}

    def __init__(self, folder, clips, frames, first_seed, script=world.script):
        self.folder, self.clips, self.frames, self.first_seed, self.script = folder, clips, frames, first_seed, script
        os.makedirs(folder, exist_ok=True)
        for name, (dtype, shape) in self.ARRAYS.items():
            setattr(self, name, mapped(os.path.join(folder, name + ".npy"), dtype, (clips, frames, *shape)))
        self.note = os.path.join(folder, "seen.json")
        self.done = json.load(open(self.note))["done"] if os.path.exists(self.note) else 0

    def render(self, i):
        """Clip i: controls, scene, pictures, and what its cameras see. Any thread."""
        seed = self.first_seed + i
        controls, scene = self.script(seed, self.frames)
        return controls, scene, world.replay(seed, *FULL, controls, scene), world.see(seed, controls, scene)

    @torch.no_grad()
    def extend(self, encoder, clip):
        """Encodes and keeps one more clip: what render(done) gave."""
        i, (controls, scene, rgb, sight) = self.done, clip
        x = to_unit(torch.from_numpy(rgb)).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            self.latents[i] = encoder(x).float().numpy()
        self.controls[i], self.scenes[i] = controls, scene
        for name, value in zip(("noise", "column", "ray", "height", "camera"), sight):
            getattr(self, name)[i] = value
        self.done += 1
        with open(self.note, "w") as f:
            json.dump({"done": self.done}, f)

    def true(self, clip, at, n):
        return torch.from_numpy(np.array(self.latents[clip, at:at + n])).float()

    def words(self, clip, at):
        cut = lambda a: torch.from_numpy(np.ascontiguousarray(a[clip, at]))
        return cut(self.controls), tokens(cut(self.scenes))

    def frame(self, clip, at):
        """Frames `at` of clips `clip`, lists of equal length."""
        cut = lambda a: torch.from_numpy(np.ascontiguousarray(a[clip, at]))
        sight = sight_of(cut(self.noise), cut(self.column), cut(self.ray), None, cut(self.camera))
        return Frames(cut(self.latents).float(), *self.words(clip, at), sight)

    def sample(self, n, rng):
        """n random frames."""
        return self.frame(*(torch.randint(k, (n,), generator=rng).tolist() for k in (self.done, self.frames)))


def mapped(path, dtype, shape):
    """An array in a file, made where it is missing."""
    return np.load(path, mmap_mode="r+") if os.path.exists(path) else np.lib.format.open_memmap(path, "w+", dtype, shape)


class Latents:
    """Encoded clips in a folder, memory-mapped: latents f16 [N, F, 16, h, w], controls [N, F, 4], scenes [N, F, 3].

    They are made in pieces, so that a job that was cut short goes on where it stopped."""

    def __init__(self, folder, size, clips, frames):
        self.folder, self.size, self.clips, self.frames = folder, size, clips, frames
        os.makedirs(folder, exist_ok=True)
        h, w = size[1] // 8, size[0] // 8
        self.latents = mapped(os.path.join(folder, "latents.npy"), np.float16, (clips, frames, 16, h, w))
        self.controls = mapped(os.path.join(folder, "controls.npy"), np.float32, (clips, frames, 4))
        self.scenes = mapped(os.path.join(folder, "scenes.npy"), np.int32, (clips, frames, 3))
        self.note = os.path.join(folder, "done.json")
        self.done = json.load(open(self.note))["done"] if os.path.exists(self.note) else 0

    @torch.no_grad()
    def extend(self, encoder, first_seed, count=16):
        """Renders and encodes `count` more clips (fewer at the end)."""
        a, b = self.done, min(self.done + count, self.clips)
        rgb, controls, scene = [], [], []
        for seed in range(first_seed + a, first_seed + b):
            pictures, c, s = world.clip(seed, *self.size, self.frames)
            rgb.append(torch.from_numpy(pictures))
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

# SPDX-License-Identifier: Apache-2.0
"""Frames out of the transformer: one ahead of true frames, and streams that feed on themselves."""
import math

import torch

from dit import TALL, depths, sigmas

NONE = float("nan")


def previous_of(z):
    """Latents [B, F, ...] -> the two before each frame [B, F, 2, ...], NaN where there is none."""
    lead = torch.full_like(z[:, :1], NONE)
    one = torch.cat([lead, z[:, :-1]], 1)
    two = torch.cat([lead, one[:, :-1]], 1)
    return torch.stack([one, two], 2)


@torch.no_grad()
def next_frames(model, z, control, ids, steps=2, window=8, seed=0, top_k=None, ground=None):
    """Each frame of z [B, F, 16, h, w] made from the true ones before it, in `steps` steps."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(z.shape, generator=rng)
    prev = previous_of(z)[:, :, None].expand(-1, -1, 2, -1, -1, -1, -1)
    zero = torch.zeros(z.shape[:2])
    s = sigmas(steps)
    for a, b in zip(s, s[1:]):
        t, t_next = torch.stack([zero, zero + a], 2), torch.stack([zero, zero + b], 2)
        with torch.autocast("cpu", torch.bfloat16):
            v = model(torch.stack([z, x], 2), t, t_next, prev, control, ids, window, top_k, ground=ground)[:, :, 1]
        x = x + (b - a) * v.float()
    return x


def ahead(heights):
    """The highest ground within 30 cells straight ahead, less the farther it is: [42, D] in units of TALL -> cells."""
    z = depths(heights.shape[1]).float()
    near = heights[20:22, z <= 30] * TALL - 0.12 * z[z <= 30]
    return max(near.max().item(), 0.0)


class Cache:
    """Keys and values of one block's committed frames."""

    def __init__(self):
        self.frames, self.fresh = [], None

    def attend(self, q, k, v, window):
        q, k, v = (u[:, 0, 0].transpose(1, 2) for u in (q, k, v))                          # [B, H, T, hd]
        self.fresh = k, v
        past = self.frames[-(window - 1):] if window > 1 else []
        k = torch.cat([u[0] for u in past] + [k], 2)
        v = torch.cat([u[1] for u in past] + [v], 2)
        p = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), -1)
        return (p @ v).transpose(1, 2).flatten(-2)[:, None, None]

    def commit(self):
        self.frames = self.frames[-31:] + [self.fresh]


class Stream:
    """B streams side by side: `make` a frame from noise, or `commit` a given one."""

    def __init__(self, model, window=8, steps=2, first_steps=16, seed=0, autocast=True, top_k=None, flights=None):
        """`flights`: a world.Flight for each stream."""
        self.model, self.window, self.steps, self.first_steps = model, window, steps, first_steps
        self.caches = [Cache() for _ in model.blocks]
        self.frame, self.past, self.flights, self.ground = 0, [], flights, None
        self.rng = torch.Generator().manual_seed(seed)
        self.autocast, self.top_k = autocast, top_k

    def velocity(self, x, t, t_next, control, ids):
        gone = torch.full_like(x, NONE)
        prev = torch.stack([self.past[-1] if self.past else gone, self.past[-2] if len(self.past) > 1 else gone], 1)
        time = lambda u: torch.full((x.shape[0], 1, 1), float(u))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            v = self.model(x[:, None, None], time(t), time(t_next), prev[:, None, None], control[:, None], ids[:, None],
                           self.window, self.top_k, self.caches, self.frame, self.ground)
        return v[:, 0, 0].float()

    @torch.no_grad()
    def look(self, control, ids):
        """Moves the flights by a frame and sees the ground from there."""
        noise, column, ray = (torch.stack([torch.from_numpy(u) for u in v])
                              for v in zip(*(f.step(c) for f, c in zip(self.flights, control.numpy()))))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            high = self.model.ground.high(noise, self.model.prompt(ids))
            y, turn = torch.tensor([f.climb(ahead(h)) for f, h in zip(self.flights, high)]).unbind(1)
            sight = noise, column.long(), ray, torch.stack([y, turn.cos(), turn.sin()], 1).float()
            self.ground = self.model.see(sight, ids)

    @torch.no_grad()
    def make(self, shape, control, ids, noise=None, keep=None):
        """The next frame's latents [B, 16, h, w]; `keep` collects the latents after each step."""
        x = torch.randn(shape, generator=self.rng) if noise is None else noise
        s = sigmas(self.steps if self.frame else self.first_steps)
        if self.flights:
            self.look(control, ids)
        for a, b in zip(s, s[1:]):
            x = x + (b - a) * self.velocity(x, a, b, control, ids)
            if keep is not None:
                keep.append(x.clone())
        self.commit(x, control, ids)
        return x

    @torch.no_grad()
    def commit(self, x, control, ids):
        self.velocity(x, 0, 0, control, ids)
        for c in self.caches:
            c.commit()
        self.past = (self.past + [x])[-2:]
        self.frame += 1


def gain_db(y, repeat, x):
    """How much nearer than `repeat` y is to x, in dB of the mean squared error."""
    return 10 * math.log10((repeat - x).pow(2).mean().item() / (y - x).pow(2).mean().item())

# SPDX-License-Identifier: Apache-2.0
"""Stage "stream": the model runs on its own frames for a hundred and more, and a critic asks for frames like the renderer's.

Streams in progress follow the controls of long clips and are asked for the clip's true next frame, whatever they have made of the ones
before: a mountain that got lost comes back. Others have no such truth; what cannot be known from the past would be asked for as the mean of all that
could come, and dissolve. So all frames are judged by a critic (critic.py) as well.
"""
import math

import torch
import torch.nn.functional as F

import data
import world
from critic import NUDGED, Critic, critic_loss, push
from dit import compile_pieces, sigmas
from optim import average
from stage_latents import encoder_of, latents_of
from stage_pool import Pool
from stage_video import SHIFT, Trainer, single_loss, unseen_clips

STREAMS, CLIPS, FRAMES = 8, 400, 96         # free streams; long clips and their length
FOLLOWERS = 40                              # streams along clips
OWN, LED, TRUE, PLAIN = 2, 4, 7, 2          # frames of a step: of free streams (along clips too before there is a critic), along clips,
                                            # after true frames (SPOILT of these after spoilt ones, POOLED with the pool's errors instead), flow loss
SPOILT, POOLED = 5, 4
LOST = 0.5                                 # mean squared error from which a follower begins anew
CRITIC_FROM, RAMP = 0.08, 0.06              # progress from which there is a critic; over which it comes to full strength
WARP = 1.0                                  # weight of the moved last frame's own squared error
RATE, CRITIC_RATE = 0.45, 3e-4
GATHER = 2                                  # batches of an update
ASK, ASK_FREE = 0.5, 1.0                    # size of the critic's gradient against that of the squared error
TRUST = 0.15                                # errors beyond this weigh less
LIFE = (40, 60, 700)                        # frames of a stream: at least; range at the stage's start and end
FRESH, LONG_SEED = 2 * 10 ** 9, 4 * 10 ** 8  # first seeds of the free streams' scripts and of the long clips


class Streams:
    """Streams in progress: their last two frames, and controls and prompts of those to come."""

    def __init__(self, openings, rng):
        self.openings, self.rng, self.seed = openings, rng, FRESH + int(torch.randint(10 ** 6, (1,), generator=rng))
        self.past = torch.zeros(STREAMS, 2, *openings.shape[1:])
        self.script, self.at = [None] * STREAMS, [0] * STREAMS

    def begin(self, i, reach):
        self.seed += 1
        life = LIFE[0] + int(torch.randint(reach, (1,), generator=self.rng))
        control, scene = world.script(self.seed, life)
        ids = data.tokens(torch.from_numpy(scene))
        self.script[i], self.at[i] = (torch.from_numpy(control), ids), 0
        self.past[i] = data.opening_of(self.openings, ids[:1])

    def take(self, n, reach):
        """-> indices, past [n, 2, ...], control [n, 4], ids [n, L]"""
        pick = torch.randperm(STREAMS, generator=self.rng)[:n].tolist()
        for i in pick:
            if self.script[i] is None or self.at[i] >= len(self.script[i][0]):
                self.begin(i, reach)
        control, ids = (torch.stack([self.script[i][k][self.at[i]] for i in pick]) for k in (0, 1))
        return pick, self.past[pick], control, ids

    def give(self, pick, made):
        for i, x in zip(pick, made):
            self.past[i] = torch.stack([self.past[i, 1], x])
            self.at[i] += 1
            if not x.pow(2).mean() < 6:
                self.script[i] = None


def make(model, past, control, ids, rng):
    """The frame after past [N, 2, ...] in one or two steps; the last one has a gradient."""
    n = len(past)
    prev = torch.stack([past[:, 1], past[:, 0]], 1)[:, None, None]
    x = torch.randn(past[:, 0].shape, generator=rng)
    s = sigmas(1 + int(torch.rand((), generator=rng) < 0.5), SHIFT)

    def velocity(x, a, b):
        at = lambda u: torch.full((n, 1, 1), u)
        with torch.autocast("cpu", torch.bfloat16):
            return model(x[:, None, None], at(a), at(b), prev, control[:, None], ids[:, None], 1)[:, 0, 0].float()

    for a, b in zip(s[:-2], s[1:-1]):
        with torch.no_grad():
            x = x + (b - a) * velocity(x, a, b)
    return x - s[-2] * velocity(x, s[-2], 0.0)


class Followers:
    """Streams along clips: the clip of each, where it is in it, and its own last two frames."""

    def __init__(self, store, rng):
        self.store, self.rng = store, rng
        self.clip, self.at, self.past = [0] * FOLLOWERS, [FRAMES] * FOLLOWERS, [None] * FOLLOWERS

    def begin(self, i):
        pick = lambda n: int(torch.randint(n, (1,), generator=self.rng))
        self.clip[i], self.at[i] = pick(self.store.done), 2 + pick(FRAMES // 2)
        self.past[i] = self.true(i, self.at[i] - 2, 2)

    def true(self, i, at, n):
        return torch.from_numpy(self.store.latents[self.clip[i], at:at + n]).float()

    def take(self, n):
        """-> indices, past [n, 2, ...], control [n, 4], ids [n, L], target [n, ...]"""
        pick = torch.randperm(FOLLOWERS, generator=self.rng)[:n].tolist()
        for i in pick:
            if self.at[i] >= FRAMES:
                self.begin(i)
        control = torch.stack([torch.from_numpy(self.store.controls[self.clip[i], self.at[i]]) for i in pick])
        ids = data.tokens(torch.stack([torch.from_numpy(self.store.scenes[self.clip[i], self.at[i]]) for i in pick]))
        target = torch.cat([self.true(i, self.at[i], 1) for i in pick])
        return pick, torch.stack([self.past[i] for i in pick]), control, ids, target

    def give(self, pick, made, wrong):
        for i, x, e in zip(pick, made, wrong.tolist()):
            self.past[i] = torch.stack([self.past[i][1], x])
            self.at[i] = self.at[i] + 1 if e < LOST else FRAMES


class Batch:
    """One step's frames: `own` of free streams, then those along clips and those after true frames, whose next frame is known."""

    def __init__(self, streams, followers, pool, store, own, reach, rng):
        self.own = own
        self.led, past, control, ids, target = followers.take(LED + OWN - own)
        z, c, i = store.sample(TRUE, 3, rng)
        z[-SPOILT:-POOLED, :2] = spoilt(z[-SPOILT:-POOLED, :2], rng)
        self.errors, error = pool.take(POOLED, rng)
        z[-POOLED:, :2] += error
        parts = [(past, control, ids), (z[:, :2], c[:, 2], i[:, 2])]
        if own:
            self.free, *free = streams.take(own, reach)
            parts.insert(0, free)
        self.past, self.control, self.ids = (torch.cat(u) for u in zip(*parts))
        self.target = torch.cat([target, z[:, 2]])

    def triples(self, x):
        """What the critic sees of frames x [N, ...]."""
        return torch.cat([self.past, x[:, None]], 1), self.control, self.ids


def spoilt(z, rng):
    """Latents [N, 2, 16, h, w] as a stream that goes wrong would have them: too hard or too soft, off in contrast and colour, patterned."""
    n = lambda *s: torch.randn(s, generator=rng)
    N, _, C, h, w = z.shape
    size = lambda *s: torch.rand(*s, 1, 1, 1, 1, generator=rng)
    soft = F.avg_pool2d(F.pad(z.flatten(0, 1), (1, 1, 1, 1), mode="replicate"), 3, 1).view_as(z)
    z = z + (1.4 * size(N) - 0.5) * (z - soft)
    mean = z.mean((-1, -2), keepdim=True)
    z = mean + (z - mean) * (1 + 0.3 * size(N) + 0.15 * n(N, 1, C, 1, 1) * size(N)) + 0.25 * n(N, 1, C, 1, 1) * size(N)
    cloud = F.interpolate(n(N, C, 5, 8), (h, w), mode="bicubic")
    tile = n(N, C, 2, 2).repeat(1, 1, h // 2, w // 2)
    return z + 0.3 * size(N) * cloud[:, None] + 0.12 * size(N) * tile[:, None] + 0.08 * size(N) * n(*z.shape)


def trust(x, target):
    """Weights [N, 1, 1, 1]: what a stream has lost, it cannot be asked for."""
    w = TRUST / (TRUST + (x - target).pow(2).mean((1, 2, 3), keepdim=True))
    w[-SPOILT:] = 1
    return w


class Judge:
    """The critic with its optimiser and the size of squared-error gradients."""

    def __init__(self, saved):
        self.critic, self.steps, self.batches = Critic(), 0, 0
        self.opt = torch.optim.Adam(self.critic.parameters(), CRITIC_RATE, betas=(0.5, 0.99))
        if saved:
            self.critic.load_state_dict(saved["critic"])
            self.opt.load_state_dict(saved["opt"])
            self.steps = saved["steps"]

    def state(self):
        return {"critic": self.critic.state_dict(), "opt": self.opt.state_dict(), "steps": self.steps}

    def learn(self, real, made):
        loss, apart = critic_loss(self.critic, real, made, self.steps % NUDGED == 0)
        self.opt.step()
        self.opt.zero_grad(set_to_none=True)
        self.steps += 1
        return loss, apart

    def gradient(self, batch, x, strength):
        """Of the whole batch's loss with respect to its frames x."""
        g = torch.zeros_like(x)
        wrong = x[batch.own:] - batch.target
        g[batch.own:] = wrong = 2 * wrong / x[0].numel() * trust(x[batch.own:], batch.target)
        if strength:
            asked = push(self.critic, *batch.triples(x))
            asked = asked / (asked.pow(2).mean().sqrt() + 1e-12)
            asked[:batch.own] *= ASK_FREE / ASK
            g += ASK * strength * wrong.pow(2).mean().sqrt() * asked
        return g / len(x)


def learn(trainer, judge, batch, store, scale, strength):
    rng, model, n = trainer.rng, trainer.model, len(batch.past)
    x = make(model, batch.past, batch.control, batch.ids, rng)
    moved = (model.moved.flatten(0, 2)[batch.own:] - batch.target).pow(2)
    warp = WARP * (moved * trust(x[batch.own:].detach(), batch.target)).mean((1, 2, 3)).sum() / n
    torch.autograd.backward([x, warp], [judge.gradient(batch, x.detach(), strength), None])
    seen = [0.0] * 3
    if batch.own:
        z, control, ids = store.sample(n, 3, rng)
        loss, apart = judge.learn((z, control[:, 2], ids[:, 2]), batch.triples(x.detach()))
        seen = [loss, *apart]
    z, control, ids = store.sample(PLAIN, 3, rng)
    first = single_loss(model, z, control, data.drop_tokens(ids, rng), rng, 2, 0)
    first.backward()
    if judge.batches % GATHER == 0:
        trainer.update(scale)
        average(trainer.slow, trainer.model, trainer.step, 0.998)
    judge.batches += 1
    x = x.detach()
    wrong = (x[batch.own:] - batch.target).pow(2).mean((1, 2, 3))
    return x, wrong, [*seen, wrong[-TRUE:-SPOILT].mean().item(), moved[-TRUE:-SPOILT].mean().item(), wrong[:-TRUE].mean().item(),
                      wrong[-SPOILT:].mean().item(), first.item()]


def show(run, trainer, streams, followers, decoder):
    """Pictures: six free streams, then eighteen along clips, as they are."""
    import numpy as np
    from ae import to_bytes
    shown = torch.cat([streams.past[:6, 1], torch.stack([u[1] for u in followers.past if u is not None])])[:24]
    with torch.no_grad():
        rgb = to_bytes(decoder(shown.contiguous(memory_format=torch.channels_last), len(shown))).numpy()
    rows = [np.concatenate(list(rgb[i:i + 6]), 1) for i in range(0, len(rgb) // 6 * 6, 6)]
    world.write_png(run.path(f"stream-{trainer.step:05d}.png"), np.concatenate(rows, 0))


NAMES = ("critic", "picture", "motion", "true", "moved", "led", "spoilt", "plain")


def keep(run, trainer, judge):
    run.save(critic=judge.state(), slow=trainer.slow.state_dict())
    trainer.keep()


def train(run):
    from ae import Decoder
    import copy
    compile_pieces()
    trainer, encoder = Trainer(run), encoder_of(run)
    decoder = Decoder()
    decoder.load_state_dict(run.load("ae")["decoder"])
    store = latents_of(run, "full")
    unseen = unseen_clips(encoder, store.size)
    openings = data.openings(encoder, store.size)
    trainer.slow = copy.deepcopy(trainer.ema)
    if run.load("slow"):
        trainer.slow.load_state_dict(run.load("slow"))
    judge, streams, pool = Judge(run.load("critic")), Streams(openings, trainer.rng), Pool(openings.shape[1:])
    long = data.Latents(run.path("latents-long"), data.FULL, CLIPS, FRAMES)
    followers = Followers(long, trainer.rng)
    run.tick()
    mean = None
    while not run.out_of_time():
        progress = run.tick()
        if progress >= 1:
            trainer.report(unseen)
            keep(run, trainer, judge)
            run.finish()
            return
        while long.done < 24 or (judge.batches % 10 == 0 and long.done < long.clips):
            long.extend(encoder, LONG_SEED, 1)
        reach = int(LIFE[1] + (LIFE[2] - LIFE[1]) * progress)
        strength = min(max(0.0, progress - CRITIC_FROM - RAMP / 2) / RAMP, 1.0)
        batch = Batch(streams, followers, pool, store, OWN if progress > CRITIC_FROM else 0, reach, trainer.rng)
        x, wrong, now = learn(trainer, judge, batch, store, RATE * min(1, 4 * (1 - progress)) + 0.002, strength)
        if batch.own:
            streams.give(batch.free, x[:batch.own])
        pool.give(batch.errors, x[-POOLED:] - batch.target[-POOLED:])
        followers.give(batch.led, x[batch.own:-TRUE], wrong[:-TRUE])
        mean = now if mean is None else [0.95 * a + 0.05 * b for a, b in zip(mean, now)]
        if judge.batches % 25 == 0:
            run.log(step=trainer.step, **dict(zip(NAMES, mean)), clips=long.done, progress=progress)
        if judge.batches % 200 == 0:
            keep(run, trainer, judge)
            show(run, trainer, streams, followers, decoder)
        if judge.batches % 600 == 0:
            trainer.report(unseen)
    keep(run, trainer, judge)

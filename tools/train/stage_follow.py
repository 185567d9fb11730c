# SPDX-License-Identifier: Apache-2.0
"""Stage "follow": the model runs on its own frames along clips whose ground it sees, for as long as the clips last.

Because the ground tells what comes into view, the clip's true next frame can be asked for whatever the stream has made of the ones
before: nothing has to be guessed, so nothing dissolves and nothing grows. Others of a batch's frames follow true ones, spoilt ones, true ones with the
errors of streams in progress, or nothing at all (first frames). Over the last part a critic asks for the sharpness that squared errors cost.
"""
import torch
import torch.nn.functional as F

import data
import world
from critic import NUDGED, Critic, critic_loss, push
from dit import compile_pieces, sigmas
from optim import Optimiser
from stage_latents import follow_stores
from stage_video import SHIFT, Trainer

STREAMS = 48                                # along clips
LED, TRUE, SPOILT, POOLED, FIRST = 8, 2, 1, 3, 2       # frames of a step
LOST = 1.5                                  # mean squared error from which a stream begins anew
RESET = 0.015                               # of the pool begins anew at each use
BEGIN, LIVE_ON = 0.25, 0.5                  # of the streams begin with nothing; with the errors that they had; the others with true frames
CRITIC_FROM, RAMP = 0.25, 0.1               # progress from which the critic learns; over which its gradient comes to full strength
ASK, TRUST = 0.7, 0.3                       # size of the critic's gradient against the squared error's; errors beyond weigh less
RATE, CRITIC_RATE, WARM = 0.5, 3e-4, 60
WARP = 0.5                                  # weight of the moved last frame's own squared error
GATHER = 2                                  # batches of an update
NONE = float("nan")


class Pool:
    """What frames k-2 and k-1 of streams in progress were off by: added to true ones, they look like a stream's own."""

    def __init__(self, shape):
        self.error = torch.zeros(STREAMS, 2, *shape)

    def take(self, n, rng):
        pick = torch.randperm(STREAMS, generator=rng)[:n]
        fresh = torch.rand(n, generator=rng) < RESET
        self.error[pick[fresh]] = 0
        return pick, self.error[pick]

    def give(self, pick, error):
        self.error[pick, 0] = self.error[pick, 1]
        self.error[pick, 1] = error
        lost = self.error[pick, 1].pow(2).mean((-1, -2, -3)) > 1.5
        self.error[pick[lost]] = 0


class Streams:
    """Streams along clips of several stores in turn: the clip of each, where it is in it, and its own last two frames."""

    def __init__(self, stores, rng):
        self.store, self.rng = [stores[i % len(stores)] for i in range(STREAMS)], rng
        self.clip, self.at, self.past, self.turn = [0] * STREAMS, [0] * STREAMS, [None] * STREAMS, 0
        self.kinds = len(stores)

    def true(self, i, n=1):
        """The clip's own frames that stream i has come to: the last n."""
        return self.store[i].true(self.clip[i], self.at[i] - n, n)

    def begin(self, i):
        """With nothing, with true frames, or with the errors of the clip before, for a stream lives longer than a clip."""
        pick = lambda n: int(torch.randint(n, (1,), generator=self.rng))
        old = None if self.past[i] is None else self.past[i] - self.true(i, 2)
        self.clip[i], self.at[i] = pick(self.store[i].done), 2 + pick(self.store[i].frames // 2)
        self.past[i] = self.true(i, 2)
        kind = float(torch.rand((), generator=self.rng))
        if kind < BEGIN:
            self.past[i] = torch.full_like(self.past[i], NONE)
        elif kind < BEGIN + LIVE_ON and old is not None and old.pow(2).mean() < LOST:      # false with NaN, too
            self.past[i] += old

    def take(self, n):
        """The next frames of n streams, all of one store."""
        self.turn = (self.turn + 1) % self.kinds
        pick = (torch.randperm(STREAMS // self.kinds, generator=self.rng)[:n] * self.kinds + self.turn).tolist()
        for i in pick:
            if self.past[i] is None or self.at[i] >= self.store[i].frames:
                self.begin(i)
        clip, at = ([u[i] for i in pick] for u in (self.clip, self.at))
        return pick, torch.stack([self.past[i] for i in pick]), self.store[pick[0]].frame(clip, at)

    def give(self, pick, made, wrong):
        for i, x, e in zip(pick, made, wrong.tolist()):
            self.past[i] = torch.stack([self.past[i][1], x]) if e < LOST else None
            self.at[i] += 1


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


def make(model, past, frame, rng):
    """The frame after past [N, 2, ...] in one or two steps; the last one has a gradient."""
    n = len(past)
    prev = torch.stack([past[:, 1], past[:, 0]], 1)[:, None, None]
    x = torch.randn(past[:, 0].shape, generator=rng)
    s = sigmas(1 + int(torch.rand((), generator=rng) < 0.6), SHIFT)
    with torch.autocast("cpu", torch.bfloat16):
        ground = model.see(frame.sight, frame.ids)

    def velocity(x, a, b):
        at = lambda u: torch.full((n, 1, 1), u)
        with torch.autocast("cpu", torch.bfloat16):
            return model(x[:, None, None], at(a), at(b), prev, frame.control[:, None], frame.ids[:, None], 1, ground=ground)[:, 0, 0].float()

    for a, b in zip(s[:-2], s[1:-1]):
        with torch.no_grad():
            x = x + (b - a) * velocity(x, a, b)
    return x - s[-2] * velocity(x, s[-2], 0.0)


class Batch:
    """A step's frames: along clips, after true ones, after spoilt ones, after true ones with errors, and first ones."""

    def __init__(self, streams, pool, stores, rng):
        self.led, past, led = streams.take(LED)
        n = TRUE + SPOILT + POOLED + FIRST
        store = stores[int(torch.randint(len(stores), (1,), generator=rng))]
        clip = torch.randint(store.done, (n,), generator=rng).tolist()
        at = (2 + torch.randint(store.frames - 2, (n,), generator=rng)).tolist()
        z = torch.stack([store.true(c, a - 2, 2) for c, a in zip(clip, at)])
        z[TRUE:TRUE + SPOILT] = spoilt(z[TRUE:TRUE + SPOILT], rng)
        self.errors, error = pool.take(POOLED, rng)
        z[TRUE + SPOILT:n - FIRST] += error
        z[n - FIRST:] = NONE
        self.past = torch.cat([past, z])
        self.frame = data.joined(led, store.frame(clip, at))
        self.frame.ids[LED:] = data.drop_tokens(self.frame.ids[LED:, None], rng, 0.02, 0.05, 0.1)[:, 0]
        self.target = self.frame.latents

    def triples(self, x):
        """What the critic sees of frames x [N, ...]."""
        past = torch.where(torch.isnan(self.past), self.target[:, None], self.past)
        return torch.cat([past, x[:, None]], 1), self.frame.control, self.frame.ids


class Judge:
    """The critic with its optimiser."""

    def __init__(self, saved):
        self.critic, self.steps, self.batches = Critic(), 0, 0
        self.opt = torch.optim.Adam(self.critic.parameters(), CRITIC_RATE, betas=(0.5, 0.99))
        if saved:
            self.critic.load_state_dict(saved["critic"])
            self.opt.load_state_dict(saved["opt"])
            self.steps, self.batches = saved["steps"], saved["batches"]

    def state(self):
        return {"critic": self.critic.state_dict(), "opt": self.opt.state_dict(), "steps": self.steps, "batches": self.batches}

    def learn(self, real, made):
        loss, apart = critic_loss(self.critic, real, made, self.steps % NUDGED == 0)
        self.opt.step()
        self.opt.zero_grad(set_to_none=True)
        self.steps += 1
        return loss, apart

    def gradient(self, batch, x, strength):
        """Of the whole batch's loss with respect to its frames x."""
        error = x - batch.target
        size = error.pow(2).mean((1, 2, 3), keepdim=True)
        g = 2 * error / x[0].numel() * TRUST / (TRUST + size)
        if strength:
            asked = push(self.critic, *batch.triples(x))
            asked = asked / (asked.pow(2).mean((1, 2, 3), keepdim=True).sqrt() + 1e-12)
            g += ASK * strength * g.pow(2).mean().sqrt() * asked
        return g / len(x)


def learn(trainer, judge, batch, stores, scale, strength):
    rng, model, n = trainer.rng, trainer.model, len(batch.past)
    x = make(model, batch.past, batch.frame, rng)
    old = ~torch.isnan(batch.past[:, 1, 0, 0, 0])
    moved = (model.moved.flatten(0, 2) - batch.target).pow(2).mean((1, 2, 3))[old]
    warp = WARP * (moved * TRUST / (TRUST + moved.detach())).sum() / n
    torch.autograd.backward([x, warp], [judge.gradient(batch, x.detach(), strength), None])
    x = x.detach()
    seen = [0.0] * 3
    if trainer.judged:
        store = stores[0]
        clip = torch.randint(store.done, (n,), generator=rng).tolist()
        at = (2 + torch.randint(store.frames - 2, (n,), generator=rng)).tolist()
        real = torch.stack([store.true(c, a - 2, 3) for c, a in zip(clip, at)])
        loss, apart = judge.learn((real, *store.words(clip, at)), batch.triples(x))
        seen = [loss, *apart]
    judge.batches += 1
    if judge.batches % GATHER == 0:
        trainer.update(scale)
    wrong = (x - batch.target).pow(2).mean((1, 2, 3))
    a, b, c = (LED + k for k in (0, TRUE, TRUE + SPOILT))
    return x, wrong, [*seen, moved.mean().item(), *(u.mean().item() for u in (wrong[:a], wrong[a:b], wrong[b:c], wrong[c:c + POOLED], wrong[-FIRST:]))]


NAMES = ("critic", "picture", "motion", "moved", "led", "true", "spoilt", "pooled", "first")


def show(run, trainer, streams, batch, x, decoder):
    """Pictures: what streams along clips have made, and below each the clip's own frame; then first frames."""
    import numpy as np
    from ae import to_bytes
    some = [i for i in range(STREAMS) if streams.past[i] is not None and not torch.isnan(streams.past[i]).any()][:8]
    if len(some) < 4:
        return
    own = torch.stack([streams.past[i][1] for i in some])
    true = torch.cat([streams.true(i) for i in some])
    both = torch.cat([own, true, x[-FIRST:], batch.target[-FIRST:]])
    with torch.no_grad():
        rgb = to_bytes(decoder(both.contiguous(memory_format=torch.channels_last), len(both))).numpy()
    k = len(some) // 4 * 4
    rows = [u for j in range(0, k, 4) for u in (rgb[j:j + 4], rgb[len(some) + j:len(some) + j + 4])] + [rgb[-2 * FIRST:]]
    world.write_png(run.path(f"follow-{trainer.step:05d}.png"), np.concatenate([np.concatenate(list(r), 1) for r in rows if len(r) == 4], 0))


def keep(run, trainer, judge):
    run.save(critic=judge.state())
    trainer.keep()


def train(run):
    from ae import Decoder
    compile_pieces()
    trainer = Trainer(run)
    decoder = Decoder()
    decoder.load_state_dict(run.load("ae")["decoder"])
    *long, wide = follow_stores(run)
    begun = run.state["spent"].get("follow", 0) > 1
    if not begun:
        trainer.opt = Optimiser(trainer.model)
    judge, pool, streams = Judge(run.load("critic") if begun else None), Pool((16, 18, 32)), Streams(long, trainer.rng)
    ground = trainer.model.ground                       # heights are known well by now (stage "ground"), as the prompt's rows are that they follow from
    for p in (*ground.shape.parameters(), *ground.code.parameters(), ground.sharp, *trainer.model.words.parameters(), *trainer.model.text_embedding.parameters()):
        p.requires_grad_(False)
    run.tick()
    mean = None
    while not run.out_of_time():
        progress = run.tick()
        if progress >= 1:
            keep(run, trainer, judge)
            run.finish()
            return
        trainer.judged = progress > CRITIC_FROM
        strength = min(max(0.0, progress - CRITIC_FROM - RAMP / 2) / RAMP, 1.0)
        batch = Batch(streams, pool, [wide, long[0]], trainer.rng)
        scale = RATE * min(1, judge.batches / (GATHER * WARM) + 0.02, (1 - progress) / 0.3) + 0.002
        x, wrong, now = learn(trainer, judge, batch, [wide], scale, strength)
        pool.give(batch.errors, (x - batch.target)[-FIRST - POOLED:-FIRST])
        streams.give(batch.led, x[:LED], wrong[:LED])
        mean = now if mean is None else [0.95 * a + 0.05 * b for a, b in zip(mean, now)]
        if judge.batches % 25 == 0:
            run.log(step=judge.batches, **dict(zip(NAMES, mean)), progress=progress)
        if judge.batches % 200 == 0:
            keep(run, trainer, judge)
            show(run, trainer, streams, batch, x, decoder)
    keep(run, trainer, judge)

# SPDX-License-Identifier: Apache-2.0
"""Stage "pool": long streams without long clips.

A pool keeps the errors of streams in progress: what the model's own last two frames were off by. Each step adds them to the true frames of
another clip, lets the model make the next frame in one or two steps as it will when it runs, and asks for the true one; what it was off by
goes back into the pool. So it sees the mistakes of hundreds of frames, and learns to leave them. A part of the batch stays plain flow loss,
openings among it.
"""
import math

import torch

import data
from dit import compile_pieces, sigmas
from stage_latents import encoder_of, latents_of
from stage_video import SHIFT, Trainer, single_loss, unseen_clips

STREAMS = 48            # in the pool
MAKING, PLAIN, OPENING = 8, 6, 3        # frames of a step: made from pool errors; flow loss, OPENING of these first frames
RESET = 0.015           # of the streams begin anew at each use
RATE = 0.25


class Pool:
    def __init__(self, shape):
        self.error = torch.zeros(STREAMS, 2, *shape)        # of frames k-2 and k-1

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


def made_loss(model, pool, z, control, ids, rng):
    """The next frame as it will be made: z [N, 3, 16, h, w] true. Mean squared error of x0; the pool moves on."""
    N = len(z)
    pick, error = pool.take(N, rng)
    past = z[:, :2] + error
    prev = torch.stack([past[:, 1], past[:, 0]], 1)[:, None, None]
    x = torch.randn(z[:, 2].shape, generator=rng)
    s = sigmas(1 + int(torch.randint(2, (1,), generator=rng)), SHIFT)

    def velocity(x, a, b):
        at = lambda u: torch.full((N, 1, 1), u)
        with torch.autocast("cpu", torch.bfloat16):
            return model(x[:, None, None], at(a), at(b), prev, control[:, 2:], ids[:, 2:], 1)[:, 0, 0].float()

    for a, b in zip(s[:-2], s[1:-1]):
        with torch.no_grad():
            x = x + (b - a) * velocity(x, a, b)
    x0 = x - s[-2] * velocity(x, s[-2], 0.0)
    pool.give(pick, (x0 - z[:, 2]).detach())
    return (x0 - z[:, 2]).pow(2).mean()


def learn(trainer, pool, store, scale):
    rng, model = trainer.rng, trainer.model
    z, control, ids = store.sample(MAKING, 3, rng)
    loss = made_loss(model, pool, z, control, data.drop_tokens(ids, rng), rng)
    loss.backward()
    z, control, ids = store.sample(PLAIN, 3, rng)
    ids = data.drop_tokens(ids, rng)
    z[:OPENING, 2], ids[:OPENING, 2] = data.sample_openings(trainer.openings, OPENING, rng)
    first = single_loss(model, z, control, ids, rng, 2, OPENING)
    first.backward()
    trainer.update(scale)
    return loss.item(), first.item(), pool.error.pow(2).mean().item()


def train(run):
    compile_pieces()
    trainer, encoder = Trainer(run), encoder_of(run)
    store = latents_of(run, "full")
    unseen = unseen_clips(encoder, store.size)
    trainer.openings = data.openings(encoder, store.size)
    pool = Pool(trainer.openings.shape[1:])
    run.tick()
    mean = None
    while not run.out_of_time():
        progress = run.tick()
        if progress >= 1:
            trainer.report(unseen)
            trainer.keep()
            run.finish()
            return
        now = learn(trainer, pool, store, RATE * (0.5 + 0.5 * math.cos(math.pi * progress)) + 0.01)
        mean = now if mean is None else [0.95 * a + 0.05 * b for a, b in zip(mean, now)]
        if trainer.step % 25 == 0:
            run.log(step=trainer.step, made=mean[0], plain=mean[1], error=mean[2], progress=progress)
        if trainer.step % 100 == 0:
            trainer.keep()
    trainer.keep()

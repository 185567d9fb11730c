# SPDX-License-Identifier: Apache-2.0
"""Stages "clips", "heights" and "ground": learns to see the ground through its noise (dit.Ground), alone, thousands of frames a minute.

"clips" renders and encodes clips of many worlds with the noise that their cameras see. "heights" learns how high the ground is at a
sample, from the renderer's maps; then that stays as it is. "ground" learns what grows there and what a ray makes of it: the latents of single frames, each
token on its own.
"""
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import data
from dit import TALL
from optim import Muon
from stage_latents import encoder_of, follow_stores
from stage_video import Trainer

WORLDS, SAMPLES = 96, 160                   # of a step of "heights"
FRAMES = 48                                 # of a step of "ground"
SHARP = 1.8                                 # rays end within a fifth of a latent pixel


def clips(run):
    encoder, stores = encoder_of(run), follow_stores(run)
    order, pool, ahead = iter(clip_order(stores)), ThreadPoolExecutor(2), []
    run.tick()
    while not run.out_of_time():
        while len(ahead) < 3 and (next_one := next(order, None)):
            ahead.append((next_one[0], pool.submit(next_one[0].render, next_one[1])))
        if not ahead or run.tick() >= 1:
            return run.finish()
        store, clip = ahead.pop(0)
        store.extend(encoder, clip.result())
        if store.done % 50 == 0:
            run.log(set=store.folder, clips=store.done)
    run.save()


def clip_order(stores):
    """(store, number) of all clips that are missing, so that the stores fill up together."""
    have = [s.done for s in stores]
    while any(n < s.clips for n, s in zip(have, stores)):
        i = min(range(len(stores)), key=lambda i: have[i] / stores[i].clips)
        yield stores[i], have[i]
        have[i] += 1


def height_error(ground, noise, prompt, height):
    """noise [N, S, 13], prompt [N, d], height [N, S] in cells -> smooth L1, in cells."""
    return F.smooth_l1_loss(ground.high(noise[:, :, None], prompt)[..., 0] * TALL, height)


def heights(run):
    trainer = Trainer(run)
    ground, store = trainer.model.ground, follow_stores(run)[-1]
    steady = np.nonzero((store.scenes[:store.done, 0] == store.scenes[:store.done, 3]).all(-1))[0]      # nothing morphs
    noise = torch.from_numpy(store.noise[steady, 3]).flatten(1, 2)
    height = torch.from_numpy(store.height[steady, 3]).flatten(1, 2)
    with torch.no_grad():
        prompt = trainer.model.prompt(data.tokens(torch.from_numpy(store.scenes[steady, 3])))
    params = [*ground.code.parameters(), *ground.shape.parameters()]
    opt, mean, step = torch.optim.Adam(params, 4e-3), None, 0
    run.tick()
    while not run.out_of_time() and run.tick() < 1:
        opt.param_groups[0]["lr"] = 4e-3 * min(1, (1 - run.progress(["heights"])) / 0.6) + 1e-5
        pick = torch.randint(len(noise), (WORLDS,), generator=trainer.rng)
        at = torch.randint(noise.shape[1], (WORLDS, SAMPLES), generator=trainer.rng)
        near = torch.gather(noise[pick].float(), 1, at[..., None].expand(-1, -1, noise.shape[-1]))
        loss = height_error(ground, near, prompt[pick], torch.gather(height[pick].float(), 1, at))
        opt.zero_grad()
        loss.backward()
        opt.step()
        mean = loss.item() if mean is None else 0.99 * mean + 0.01 * loss.item()
        step += 1
        if step % 500 == 0:
            run.log(step=step, loss=mean)
    keep(run, trainer, "heights")


def keep(run, trainer, stage):
    trainer.ema.ground.load_state_dict(trainer.model.ground.state_dict())
    trainer.keep()
    if run.progress([stage]) >= 1:
        run.finish()


def train(run):
    if run.stage != "ground":
        return {"clips": clips, "heights": heights}[run.stage](run)
    trainer = Trainer(run)
    model, ground, stores = trainer.model, trainer.model.ground, follow_stores(run)[-1:]
    ground.sharp.data.fill_(SHARP)
    for p in (*ground.code.parameters(), *ground.shape.parameters(), ground.sharp):
        p.requires_grad_(False)
    params = [p for p in ground.parameters() if p.requires_grad]
    big = [p for p in params if p.dim() == 2 and min(p.shape) > 8]
    muon = Muon(big)
    adam = torch.optim.Adam([p for p in params if not any(p is q for q in big)], 2e-3, betas=(0.9, 0.98))
    run.tick()
    mean, step = None, 0
    while not run.out_of_time() and run.tick() < 1:
        scale = min(1, step / 50, (1 - run.progress(["ground"])) / 0.4 + 0.01)
        frame = data.joined(*(s.sample(n, trainer.rng) for s, n in zip(stores, data.shares(stores, FRAMES))))
        with torch.no_grad():
            prompt = model.prompt(frame.ids)
        with torch.autocast("cpu", torch.bfloat16):
            made = ground(frame.sight, prompt)[1]
        loss = (made - frame.latents).pow(2).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        muon.lr, adam.param_groups[0]["lr"] = 0.02 * scale, 2e-3 * scale
        muon.step()
        adam.step()
        for p in params:
            p.grad = None
        mean = loss.item() if mean is None else 0.97 * mean + 0.03 * loss.item()
        step += 1
        if step % 100 == 0:
            run.log(step=step, loss=mean)
    if run.progress(["ground"]) >= 1:
        level(trainer, stores[0])
    keep(run, trainer, "ground")


@torch.no_grad()
def level(trainer, store):
    """Scales what the ground tells to half of what the tokens hold without it."""
    model, frame = trainer.model, store.sample(32, trainer.rng)
    previous = frame.latents[:, None, None, None].expand(-1, -1, -1, 2, -1, -1, -1)
    own = model.embed(torch.randn(frame.latents.shape, generator=trainer.rng)[:, None, None], previous, frame.latents[:, None, None]) + model.places(9, 16)
    told = model.see(frame.sight, frame.ids)[0]
    scale = 0.5 * own.pow(2).mean().sqrt() / told.pow(2).mean().sqrt()
    model.ground.token.weight.mul_(scale)
    model.ground.token.bias.mul_(scale)

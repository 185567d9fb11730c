# SPDX-License-Identifier: Apache-2.0
"""Stage "decoder": the decoder learns to show what the model makes.

Streams run along clips whose ground they see, so that the true picture of every frame is known; the latents that they make are softer than the encoder's.
The decoder is taught to show the true picture of either, and for made ones a critic of pictures asks for the sharpness that mean errors cost.
"""
import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

import world
from ae import Decoder, picture_loss, psnr, to_bytes, to_unit
from data import FULL
from stage_follow import Streams, make
from stage_latents import follow_stores
from stage_video import Trainer

CLIPS = 64, 24                  # whose pictures are kept: long ones, straight ones
LED, KEPT = 8, 2000             # frames of streams a step, every second step; made ones that are kept
MADE, TRUE = 6, 4               # crops of a batch
CROP = 10                       # latent pixels; zeros around it as around whole pictures
NOISE = 0.1                     # on the encoder's latents
RATE, CRITIC_RATE = 3e-4, 4e-4
CRITIC_FROM, RAMP = 0.05, 0.1   # progress from which the critic learns; over which its gradient comes to full strength
ASK = 3.0                       # size of the critic's gradient against the picture loss's
FAITH = 4.0                     # weight of the encoder's latents: what they show stays as true as it was
FLATNESS, NUDGE = 10.0, 0.01


class Critic(nn.Module):
    """Two pictures of a crop, one after the other [N, 6, h, w] -> scores of patches of some 40 pixels [N, patches]."""

    def __init__(self, widths=(32, 64, 112)):
        super().__init__()
        a, b, c = widths
        self.net = nn.Sequential(nn.Conv2d(6, a, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2),
                                 nn.Conv2d(b, c, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(c, c, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(c, 1, 1))

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.net(x.contiguous(memory_format=torch.channels_last)).float().flatten(1)


class Made:
    """Frames that streams have made, with the two before them, and the pictures that they should show."""

    def __init__(self, run, trainer):
        self.model, self.rng = trainer.ema, trainer.rng
        self.stores = follow_stores(run)[:2]
        self.rgb = []
        for store, clips in zip(self.stores, CLIPS):
            store.done = min(store.done, clips)
            self.rgb.append([torch.from_numpy(world.replay(store.first_seed + i, *FULL, store.controls[i], store.scenes[i])) for i in range(store.done)])
        self.streams, self.kept = Streams(self.stores, self.rng), []

    def extend(self):
        led, past, frame = self.streams.take(LED)
        with torch.no_grad():
            x = make(self.model, past, frame, self.rng)
        for i, p, z in zip(led, past, x):
            if not torch.isnan(p).any():
                self.kept.append((torch.cat([p, z[None]]), self.stores.index(self.streams.store[i]), self.streams.clip[i], self.streams.at[i]))
        self.streams.give(led, x, (x - frame.latents).pow(2).mean((1, 2, 3)))
        self.kept = self.kept[-KEPT:]

    def crop(self, z, store, clip, at):
        """Latents [3, 16, CROP, CROP] of a random place and the pictures [3, 3, ...] there."""
        y, x = (int(torch.randint(n - CROP + 1, (1,), generator=self.rng)) for n in z.shape[-2:])
        rgb = self.rgb[store][clip][at - 2:at + 1, 8 * y:8 * (y + CROP), 8 * x:8 * (x + CROP)]
        return z[..., y:y + CROP, x:x + CROP], to_unit(rgb)

    def batch(self):
        """-> latents [crops, 3, 16, ...], the made ones first, and pictures."""
        pick = lambda n: int(torch.randint(n, (1,), generator=self.rng))
        crops = [self.crop(*self.kept[pick(len(self.kept))]) for _ in range(MADE)]
        for _ in range(TRUE):
            _, store, clip, at = self.kept[pick(len(self.kept))]
            z = self.stores[store].true(clip, at - 2, 3)
            crops.append(self.crop(z + NOISE * torch.randn(z.shape, generator=self.rng), store, clip, at))
        return [torch.stack(u) for u in zip(*crops)]


def critic_loss(critic, real, made):
    x = torch.cat([real, made]).flatten(1, 2)
    a, n = critic(x), len(real)
    flat = (critic(x + NUDGE * torch.randn_like(x)) - a).pow(2).mean()
    (F.softplus(-a[:n]).mean() + F.softplus(a[n:]).mean() + FLATNESS * flat).backward()
    return a[:n].mean().item() - a[n:].mean().item()


def gradient(critic, y, x, strength):
    """Of the loss with respect to pictures y [crops, 3, 3, h, w] whose truth is x; the critic sees the last two."""
    y = y.detach().requires_grad_(True)
    loss = picture_loss(y.flatten(0, 1), x.flatten(0, 1))
    g = torch.autograd.grad(loss, y)[0]
    g[MADE:] *= FAITH
    if strength:
        asked = torch.autograd.grad(F.softplus(-critic(y[:MADE, 1:].flatten(1, 2))).mean(), y)[0]
        g = g + ASK * strength * asked * (g[:MADE].pow(2).mean() / (asked[:MADE].pow(2).mean() + 1e-20)).sqrt()
    return loss.item(), g


def show(run, ema, made, step):
    """What the decoder shows of made latents, above the truth."""
    import numpy as np
    rows = []
    for z, store, clip, at in made.kept[-8:]:
        with torch.no_grad():
            rows.append([to_bytes(ema(z, 1))[-1].numpy(), made.rgb[store][clip][at].numpy()])
    world.write_png(run.path(f"decoder-{step:05d}.png"), np.concatenate([np.concatenate(u, 1) for u in
                    ([r[0] for r in rows[:4]], [r[1] for r in rows[:4]], [r[0] for r in rows[4:]], [r[1] for r in rows[4:]])], 0))


def energy(x):
    """High-frequency energy, as measures.detail()."""
    x = x.mean(-3, keepdim=True).flatten(0, -4)
    return (x - F.avg_pool2d(x, 3, 1, 1))[..., 1:-1, 1:-1].pow(2).mean().item()


def train(run):
    trainer, saved, ae = Trainer(run), run.load("decoder"), run.load("ae")
    decoder, critic = Decoder(), Critic()
    decoder.load_state_dict(ae["decoder"])
    ema = copy.deepcopy(decoder).requires_grad_(False)
    opt = torch.optim.Adam(decoder.parameters(), RATE, betas=(0.5, 0.98))
    critic_opt = torch.optim.Adam(critic.parameters(), CRITIC_RATE, betas=(0.5, 0.99))
    step = 0
    if saved:
        for name, part in (("decoder", decoder), ("critic", critic), ("opt", opt), ("critic_opt", critic_opt)):
            part.load_state_dict(saved[name])
        step = saved["step"]
    for m in (decoder, ema, critic):
        m.to(memory_format=torch.channels_last)
    made = Made(run, trainer)
    while len(made.kept) < KEPT // 8 and not run.out_of_time():
        made.extend()
    run.log(note=f"{len(made.kept)} frames made")

    def keep():
        run.save(ae=dict(ae, decoder=ema.state_dict()), decoder={"decoder": decoder.state_dict(), "critic": critic.state_dict(), "opt": opt.state_dict(),
                                                                 "critic_opt": critic_opt.state_dict(), "step": step})

    run.tick()
    mean = None
    while not run.out_of_time():
        progress = run.tick()
        if progress >= 1:
            keep()
            run.finish()
            return
        if step % 2 == 0:
            made.extend()
        z, x = made.batch()
        with torch.autocast("cpu", torch.bfloat16):
            y = decoder(z.flatten(0, 1).contiguous(memory_format=torch.channels_last), len(z))
        y = y.float().unflatten(0, (-1, 3))
        strength = min(max(0.0, (progress - CRITIC_FROM) / RAMP), 1.0) if progress > CRITIC_FROM + 0.02 else 0.0
        loss, g = gradient(critic, y, x, strength)
        for group in opt.param_groups:
            group["lr"] = RATE * min(1, step / 100 + 0.02, (1 - progress) / 0.3) + 1e-6
        opt.zero_grad(set_to_none=True)
        y.backward(g)
        opt.step()
        apart = 0.0
        if progress > CRITIC_FROM:
            critic_opt.zero_grad(set_to_none=True)
            apart = critic_loss(critic, x[:MADE, 1:], y[:MADE, 1:].detach())
            critic_opt.step()
        step += 1
        with torch.no_grad():
            for a, b in zip(ema.parameters(), decoder.parameters()):
                a.lerp_(b, max(0.002, 1 / (step + 1)))
        y = y.detach()
        now = [loss, apart, energy(y[:MADE]), energy(x[:MADE]), psnr(y[:MADE].flatten(0, 1), x[:MADE].flatten(0, 1)), psnr(y[MADE:].flatten(0, 1), x[MADE:].flatten(0, 1))]
        mean = now if mean is None else [0.98 * a + 0.02 * b for a, b in zip(mean, now)]
        if step % 50 == 0:
            run.log(step=step, loss=mean[0], apart=mean[1], detail=mean[2] / mean[3], made=mean[4], true=mean[5], progress=progress)
        if step % 400 == 0:
            keep()
            show(run, ema, made, step)
    keep()

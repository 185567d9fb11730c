# SPDX-License-Identifier: Apache-2.0
"""Stage "ae": encoder and decoder together on crops of short clips."""
import random

import torch

import data
from ae import Decoder, Encoder, picture_loss, psnr, to_unit, unit_loss

NOISE = 0.1
BATCH, CROP, FRAMES = 8, 64, 2


class Pool:
    """Rendered clips of FRAMES frames at both sizes, a part renewed from time to time."""

    def __init__(self, seed, clips):
        self.rng, self.seed, self.clips = random.Random(seed), 3 * 10 ** 8 + seed % 600 * 10 ** 6, clips
        self.rgb = {size: [] for size in (data.FULL, data.SMALL)}
        for size in self.rgb:
            self.renew(size, clips)

    def renew(self, size, count):
        rgb, _, _ = data.render(range(self.seed, self.seed + count), size, FRAMES)
        self.seed += count
        self.rgb[size] = (self.rgb[size] + list(rgb))[-self.clips:]

    def batch(self):
        """-> [clips * FRAMES, 3, h, w] in [-1, 1], frames of a clip next to each other."""
        if self.rng.random() < 0.25:
            crops = self.rng.sample(self.rgb[data.SMALL], 3)
        else:
            crops = []
            for clip in self.rng.sample(self.rgb[data.FULL], BATCH):
                y, x = (self.rng.randrange(0, n - CROP + 1, 8) for n in clip.shape[1:3])
                crops.append(clip[:, y:y + CROP, x:x + CROP])
        x = to_unit(torch.stack(crops)).flatten(0, 1)
        return x.contiguous(memory_format=torch.channels_last), len(crops)


def rate(progress):
    """Learning rate: warm-up, flat, then straight to zero over the second half."""
    return 1e-3 * min(progress / 0.03, 1, (1 - progress) / 0.5)


def train(run):
    torch.manual_seed(run.seed)
    encoder, decoder = Encoder(), Decoder()
    params = [*decoder.parameters(), *encoder.parameters()]
    opt = torch.optim.AdamW(params, lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-3)
    step, saved = 0, run.load("ae")
    if saved:
        encoder.load_state_dict(saved["encoder"])
        decoder.load_state_dict(saved["decoder"])
        if "opt" in saved:
            opt.load_state_dict(saved["opt"])
        step = saved["step"]
    for m in (encoder, decoder):
        m.to(memory_format=torch.channels_last).train()
    pool, unseen = Pool(run.seed * 7919 + step, 400), to_unit(data.render(range(data.UNSEEN, data.UNSEEN + 4), data.FULL, 2)[0]).flatten(0, 1)
    run.log(note="clips rendered")

    def keep():
        run.save(ae={"encoder": encoder.state_dict(), "decoder": decoder.state_dict(), "opt": opt.state_dict(), "step": step})

    run.tick()
    mean, fixed = 0.0, bool((encoder.std != 1).any())
    while not run.out_of_time():
        progress = run.tick()
        if progress >= 1:
            keep()
            run.finish()
            return
        for group in opt.param_groups:
            group["lr"] = max(rate(progress), 1e-6)
        if progress > 0.6 and not fixed:
            fixed = True
            measure(encoder, pool)
        x, clips = pool.batch()
        with torch.autocast("cpu", torch.bfloat16):
            z = encoder(x)
            y = decoder(z + NOISE * torch.randn_like(z), clips)
        loss = picture_loss(y.float(), x) + 0.02 * unit_loss(z)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        step += 1
        mean = loss.item() if mean == 0 else 0.98 * mean + 0.02 * loss.item()
        if step % 20 == 0:
            pool.renew(data.FULL, 5)
            pool.renew(data.SMALL, 2)
        if step % 200 == 0:
            run.log(step=step, loss=mean, progress=progress, psnr=check(encoder, decoder, unseen))
            keep()
    keep()


@torch.no_grad()
def measure(encoder, pool):
    """Sets the statistics that make latents of whole pictures have mean 0 and deviation 1."""
    clips = [clip[:1] for size in pool.rgb for clip in pool.rgb[size][:128]]
    z = torch.cat([encoder(to_unit(c)).transpose(0, 1).flatten(1) for c in clips], 1)
    encoder.mean += z.mean(1) * encoder.std
    encoder.std *= z.std(1)


@torch.no_grad()
def check(encoder, decoder, x):
    """PSNR on unseen clips of two frames."""
    with torch.autocast("cpu", torch.bfloat16):
        y = decoder(encoder(x), len(x) // 2)
    return psnr(y, x)

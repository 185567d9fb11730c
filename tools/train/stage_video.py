# SPDX-License-Identifier: Apache-2.0
"""Stages "small" and "full": the transformer, before it sees the ground.

Rectified flow with v-prediction. Most steps are on single frames that know the two before them as input channels only (window 1), which
costs a third; the others are on clips, one context copy and COPIES noisy ones (dit.py). Context is noised with its level as
input in a part of the frames, and corrupted without saying so in a part of the clips (offset, contrast, blur, noise: what a stream's own
mistakes look like), while the target stays true, so that errors shrink instead of growing.
"""
import copy

import torch
import torch.nn.functional as F

import data
from dit import CONFIG, Flyover, compile_pieces, sigmas
from optim import Optimiser, average
from sampling import NONE, gain_db, next_frames, previous_of
from stage_latents import FIRST_SEED, encoder_of, latents_of

VIDEO = ["small", "full"]
COPIES = 2
SHAPE = {"small": (1, 8), "full": (1, 9)}                                                   # clips, frames
SINGLES = {"small": 32, "full": 12}
CLIP_SHARE = {"small": (0.0, 0.25), "full": (0.1, 0.5)}                                     # of the steps, at its ends
OWN_SHARE = {"small": 0.2, "full": 0.4}                                                     # of the single frames' steps
FRESH = {"small": 2, "full": 2}                                                             # new clips every fourth step
SHIFT = 3.0


def shifted(u):
    return SHIFT * u / (1 + (SHIFT - 1) * u)


def levels(shape, rng):
    """Noise levels and the ones they step to: half from the schedules of 1, 2 and 4 steps, half anywhere."""
    u = torch.rand(shape, generator=rng)
    t = shifted(u)
    t_next = t * torch.rand(shape, generator=rng) * (torch.rand(shape, generator=rng) < 0.5)
    pairs = torch.tensor([p for n, k in ((1, 2), (2, 4), (4, 1)) for s in [sigmas(n, SHIFT)] for p in zip(s, s[1:]) for _ in range(k)])
    pick = pairs[torch.randint(len(pairs), shape, generator=rng)]
    fixed = torch.rand(shape, generator=rng) < 0.5
    return torch.where(fixed, pick[..., 0], t), torch.where(fixed, pick[..., 1], t_next)


def weighted(error, t, first, share):
    """Mean of squared velocity errors [..., 16, h, w]; low noise counts less (there a small error of x0 is a large one of v), and so
    do first frames, whose errors are ten times the others'."""
    w = (t / 0.4).clamp(max=1).pow(2) * (1 - (1 - share) * first.float())
    return (w * error.mean((-1, -2, -3))).mean()


def corrupt(z, rng, told=0.3):
    """Context as a drifting stream would leave it: latents [B, F, 16, h, w] -> (changed, noise level that is told [B, F])."""
    B, frames = z.shape[:2]
    normal = lambda *s: torch.randn(s, generator=rng)
    some = lambda p, *s: (torch.rand(s, generator=rng) < p).float()
    bad = some(0.35, B, 1, 1, 1, 1)
    soft = F.avg_pool2d(F.pad(z.flatten(0, 1), (1, 1, 1, 1), mode="replicate"), 3, 1).view_as(z)
    out = z + bad * torch.rand(B, 1, 1, 1, 1, generator=rng) * 0.35 * (soft - z)
    out = out * (1 + bad * 0.04 * normal(B, 1, 16, 1, 1)) + bad * 0.08 * normal(B, 1, 16, 1, 1)
    out = out + bad * 0.12 * torch.rand(B, 1, 1, 1, 1, generator=rng) * normal(*z.shape)
    level = some(told, B, frames) * 0.25 * torch.rand(B, frames, generator=rng)
    a = level[..., None, None, None]
    return (1 - a) * out + a * normal(*z.shape), level


def loss_of(model, z, context, level, control, ids, rng, window, top_k):
    """Flow loss of the noisy copies. z true latents [B, F, 16, h, w]; context the ones that later frames see."""
    B, frames = z.shape[:2]
    t, t_next = levels((B, frames, COPIES), rng)
    a = t[..., None, None, None]
    noise = torch.randn(z[:, :, None].expand(-1, -1, COPIES, -1, -1, -1).shape, generator=rng)
    x = (1 - a) * z[:, :, None] + a * noise
    prev = previous_of(context).clone()
    x = torch.cat([context[:, :, None], x], 2)
    t, t_next = torch.cat([level[..., None], t], 2), torch.cat([torch.zeros_like(level)[..., None], t_next], 2)
    prev = prev[:, :, None].expand(-1, -1, x.shape[2], -1, -1, -1, -1)
    with torch.autocast("cpu", torch.bfloat16):
        v = model(x, t, t_next, prev, control, ids, window, top_k)[:, :, -COPIES:]
    target = noise - z[:, :, None]
    return weighted((v - target).pow(2), t[:, :, -COPIES:], torch.isnan(prev[:, :, -COPIES:, 0, 0, 0, 0]), 0)


def single_loss(model, z, control, ids, rng, top_k):
    """Flow loss of the last frame of z [N, 3, 16, h, w], given the two before it."""
    N = len(z)
    context, _ = corrupt(z, rng, told=0)
    prev = torch.stack([context[:, 1], context[:, 0]], 1)
    prev[torch.rand(N, generator=rng) < 0.08, 1] = NONE                                    # the frame after the first
    t, t_next = levels((N, 1, 1), rng)
    noise = torch.randn(z[:, 2].shape, generator=rng)
    a = t[:, 0, 0, None, None, None]
    x = (1 - a) * z[:, 2] + a * noise
    with torch.autocast("cpu", torch.bfloat16):
        v = model(x[:, None, None], t, t_next, prev[:, None, None], control[:, 2:], ids[:, 2:], 1, top_k)[:, 0, 0]
    return weighted((v - (noise - z[:, 2])).pow(2), t[:, 0, 0], torch.isnan(prev[:, 0, 0, 0, 0]), 0.5)


@torch.no_grad()
def own_pair(model, z, control, ids, own, steps, rng):
    """The two frames before the last of z [N, 3 + own, 16, h, w], after `own` of the model's own in a row, each seeing only two."""
    past = [z[:, 0], z[:, 1]]
    s = sigmas(steps, SHIFT)
    for f in range(2, 2 + own):
        x = torch.randn(z[:, 0].shape, generator=rng)
        prev = torch.stack([past[-1], past[-2]], 1)[:, None, None]
        for a, b in zip(s, s[1:]):
            time = lambda u: torch.full((len(z), 1, 1), u)
            with torch.autocast("cpu", torch.bfloat16):
                v = model(x[:, None, None], time(a), time(b), prev, control[:, f:f + 1], ids[:, f:f + 1], 1)[:, 0, 0]
            x = x + (b - a) * v.float()
        past.append(x)
    return torch.stack(past[-2:], 1)


class Trainer:
    def __init__(self, run):
        torch.manual_seed(run.seed)
        self.run, self.model = run, Flyover(CONFIG)
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.opt, self.step = Optimiser(self.model), 0
        self.rng = torch.Generator().manual_seed(run.seed)
        saved = run.load("video")
        if saved:
            for name in ("model", "ema", "opt"):
                getattr(self, name).load_state_dict(saved[name])
            self.step = saved["step"]
            self.rng.set_state(saved["rng"])
        self.model.train()

    def keep(self):
        self.run.save(video={"model": self.model.state_dict(), "ema": self.ema.state_dict(), "opt": self.opt.state_dict(),
                             "step": self.step, "rng": self.rng.get_state(), "config": CONFIG})

    def update(self, scale):
        """After the gradients: the optimiser, the experts' balance, the moving average."""
        self.opt.step(scale)
        for b in self.model.blocks:
            b.ffn.balance(0.004 * min(scale * 2, 1))
        self.step += 1
        average(self.ema, self.model, self.step)

    def learn(self, store, scale):
        """One step on a batch of clips, of single frames or both -> the two losses."""
        stage, rng = self.run.stage, self.rng
        pick = lambda *options: options[int(torch.randint(len(options), (1,), generator=rng))]
        window, top_k = pick(8, 8, 6, 4), pick(2, 2, 2, 2, 2, 1)
        lo, hi = CLIP_SHARE[stage]
        first = loss = None
        if torch.rand((), generator=rng) < lo + (hi - lo) * self.run.progress([stage]):
            z, control, ids = store.sample(*SHAPE[stage], rng)
            ids = data.drop_tokens(ids, rng)
            context, level = corrupt(z, rng)
            loss = loss_of(self.model, z, context, level, control, ids, rng, window, top_k)
            loss.backward()
        if loss is None:
            own = pick(1, 2, 4) if torch.rand((), generator=rng) < OWN_SHARE[stage] else 0
            z, control, ids = store.sample(SINGLES[stage], 3 + own, rng)
            ids = data.drop_tokens(ids, rng)
            context = own_pair(self.ema, z, control, ids, own, pick(1, 1, 2), rng)
            z = torch.cat([context, z[:, -1:]], 1)
            first = single_loss(self.model, z, control[:, own:], ids[:, own:], rng, top_k)
            first.backward()
        self.update(scale)
        return [None if u is None else u.item() for u in (loss, first)]

    def report(self, unseen, **values):
        """One-frame quality of the averaged weights on unseen clips, in latents."""
        z, control, ids = unseen
        out = {f"gain{n}": gain_db(next_frames(self.ema, z, control, ids, n)[:, 2:], z[:, 1:-1], z[:, 2:]) for n in (1, 2)}
        out["alone"] = gain_db(next_frames(self.ema, z, control, ids, 2, 1)[:, 2:], z[:, 1:-1], z[:, 2:])
        spread = [b.ffn.last.max().item() / b.ffn.last.mean().item() for b in self.model.blocks]
        self.run.log(step=self.step, **values, **out, busiest=max(spread))


def unseen_clips(encoder, size):
    """Eight clips of ten frames, never trained on, with their latents."""
    rgb, control, scene = data.render(range(data.UNSEEN, data.UNSEEN + 8), size, 10)
    from ae import to_unit
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        z = encoder(to_unit(rgb).flatten(0, 1).contiguous(memory_format=torch.channels_last))
    return z.float().unflatten(0, (8, 10)), control, data.tokens(scene)


def rate(progress):
    """Learning-rate factor over both stages: warm-up, flat, then straight to zero over the last quarter."""
    return min(1.0, progress / 0.02 + 0.02, (1 - progress) / 0.25)


def train(run):
    compile_pieces()
    trainer, encoder, stage = Trainer(run), encoder_of(run), run.stage
    name = "small" if stage == "small" else "full"
    store = latents_of(run, name)
    unseen = unseen_clips(encoder, store.size)
    run.tick()
    mean, begun = [None, None], run.state["spent"].get(stage, 0)
    start = trainer.step
    while not run.out_of_time():
        if run.tick() >= 1:
            trainer.keep()
            run.finish()
            return
        if trainer.step % 4 == 0 and store.done < store.clips and stage in FRESH:
            store.extend(encoder, FIRST_SEED[name], FRESH[stage])
        now = trainer.learn(store, rate(run.progress(VIDEO)))
        mean = [b if a is None else a if b is None else 0.97 * a + 0.03 * b for a, b in zip(mean, now)]
        if trainer.step % 25 == 0:
            spent = run.state["spent"][stage] - begun
            run.log(step=trainer.step, clip=mean[0] or 0.0, single=mean[1] or 0.0, seconds=spent / (trainer.step - start), clips=store.done)
        if trainer.step % 150 == 0:
            trainer.report(unseen, rate=rate(run.progress(VIDEO)))
            trainer.keep()
    trainer.keep()

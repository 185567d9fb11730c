# SPDX-License-Identifier: Apache-2.0
"""Measures a model directory on worlds that training never sees, and prints one line of JSON.

Through PyTorch (from the de-quantised int8 weights), or with --engine BUILD through the C engine's programs in that build folder.
"""
import argparse
import json
import os
import sys
import time

import numpy as np
import torch

import data
import engine
import measures
import world
from ae import psnr, to_bytes, to_unit
from export import load, load_encoder
from sampling import next_frames, rollout

# place, time, weather: eight prompts to be told apart
PROMPTS = [(0, 1, 0), (1, 2, 0), (2, 1, 0), (3, 4, 0), (4, 1, 0), (5, 2, 0), (6, 1, 0), (7, 0, 0)]
SIZE = data.FULL


def replay(seed, controls, scene):
    """controls [F, 4], one scene -> rgb uint8 [F, h, w, 3]."""
    return world.replay(seed, SIZE[0], SIZE[1], controls, np.tile(np.array(scene, np.int32), (len(controls), 1)))


def wandering(rng, frames, turn=0.0):
    """Controls of one clip: slow changes, or a held turn."""
    c = np.cumsum(rng.normal(0, 0.08, (frames, 4)), 0) + rng.uniform(-0.4, 0.4, 4)
    c = 0.7 * np.sin(c).astype(np.float32)
    if turn:
        c[:, 0] = turn
    return c.astype(np.float32)


class Torch:
    """The PyTorch back-end."""

    def __init__(self, folder, steps):
        self.model, self.decoder, self.config = load(folder)
        self.encoder, self.steps = load_encoder(folder), steps

    @torch.no_grad()
    def encode(self, rgb):
        """uint8 [F, h, w, 3] -> latents [F, 16, h / 8, w / 8]."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.encoder(to_unit(torch.from_numpy(rgb)).contiguous(memory_format=torch.channels_last)).float()

    @torch.no_grad()
    def decode(self, z, clips=1):
        """Latents [clips * F, ...] -> float pictures [clips * F, 3, H, W]."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.decoder(z.contiguous(memory_format=torch.channels_last), clips).float()

    def next(self, z, controls, scene, seed):
        """One step ahead of true latents z [F, ...] of world `seed` -> latents [F, ...]."""
        ids = data.tokens(torch.tensor(scene)).expand(1, len(z), -1)
        sight = data.sight_of(*map(torch.from_numpy, world.see(seed, controls, np.tile(np.array(scene, np.int32), (len(z), 1)))))
        with torch.autocast("cpu", torch.bfloat16):
            ground = self.model.see(sight, ids[0])
        return next_frames(self.model, z[None], torch.from_numpy(controls)[None], ids, self.steps, self.config["window_frames"], ground=ground)[0]

    def generate(self, scenes, controls, seed):
        """Streams from nothing: scenes [B, 3], controls [B, F, 4] -> uint8 [B, F, h, w, 3]."""
        B, frames = controls.shape[:2]
        ids = data.tokens(torch.tensor(scenes))[:, None].expand(-1, frames, -1)
        shape = (B, 16, SIZE[1] // 8, SIZE[0] // 8)
        z = rollout(self.model, shape, torch.from_numpy(controls), ids, seed, steps=self.steps, window=self.config["window_frames"],
                    flights=[world.Flight(data.country(seed, i)) for i in range(B)], first_steps=self.config["first_frame_steps"])
        return np.stack([to_bytes(self.decode(c)).numpy() for c in z])

    def autoencoded(self, rgb):
        return to_bytes(self.decode(self.encode(rgb))).numpy()


def eval_autoencoder(backend, seed, clips):
    values = []
    for i in range(clips):
        rgb = world.clip(seed + i, SIZE[0], SIZE[1], 4)[0]
        values.append(psnr(backend.decode(backend.encode(rgb)), to_unit(torch.from_numpy(rgb))))
    return {"ae_psnr": float(np.mean(values)), "ae_worst": float(np.min(values))}


def eval_next(backend, rng, seed, clips, frames=10):
    """PSNR of the next frame against showing the last one again (decoded from its true latents), on clips with a held turn."""
    own, repeat, last = [], [], []
    for i in range(clips):
        scene = (i % data.KINDS["place"], int(rng.integers(data.KINDS["time"])), int(rng.integers(data.KINDS["weather"])))
        controls = wandering(rng, frames, turn=float(rng.uniform(0.5, 1) * (1 if i % 2 else -1)))
        rgb = replay(seed + i, controls, scene)
        z, x = backend.encode(rgb), to_unit(torch.from_numpy(rgb))
        y = backend.next(z, controls, scene, seed + i)
        at = range(4, frames)
        triples = torch.stack([u for f in at for u in (z[f - 2], z[f - 1], y[f])])
        decoded = backend.decode(triples, len(at))
        pictures, before = decoded[2::3], decoded[1::3]
        last += [psnr(p[None], x[f:f + 1]) for p, f in zip(before, at)]
        own += [psnr(p[None], x[f:f + 1]) for p, f in zip(pictures, at)]
        repeat += [psnr(x[f - 1:f], x[f:f + 1]) for f in at]
    return {"next_psnr": float(np.mean(own)), "repeat_render_psnr": float(np.mean(repeat)),
            "repeat_psnr": float(np.mean(last)), "next_gain_db": float(np.mean(own) - np.mean(last))}


def eval_prompts(backend, rng, seed, per_prompt, renders, show=None):
    """Clips of eight prompts: told apart by a classifier that has only seen renders; sharpness against autoencoded renders of the same country."""
    pictures, labels = [], []
    for i in range(renders):
        k = i % len(PROMPTS)
        rgb = replay(seed + i, wandering(rng, 6), PROMPTS[k])
        pictures.append(rgb[[0, 5]])
        labels += [k, k]
    net, known = measures.train_classifier(np.concatenate(pictures), labels, len(PROMPTS))
    right, sharp, real, strips = [], [], [], []
    for i in range(per_prompt):
        controls = np.stack([wandering(rng, 24) for _ in PROMPTS])
        clips = backend.generate(PROMPTS, controls, seed % 1000 + i)
        for k, clip in enumerate(clips):
            right.append(int(net(measures.small(clip[[0, 8, 16, 23]])).mean(0).argmax()) == k)
            sharp.append(measures.detail(clip[12:]))
            real.append(measures.detail(backend.autoencoded(replay(data.country(seed % 1000 + i, k), controls[k], PROMPTS[k])[12:])))
            strips.append(clip[[0, 4, 8, 16, 23]])
    if show:
        save_grid(show, strips[:16])
    return {"prompt_accuracy": float(np.mean(right)), "classifier_on_renders": known, "sharpness": float(np.mean(sharp) / np.mean(real))}


def eval_controls(backend, rng, seed, rounds):
    """Turning left moves the picture right and the other way round."""
    right = []
    for i in range(rounds):
        controls = np.zeros((len(PROMPTS), 26, 4), np.float32)
        side = np.array([1 if (i + k) % 2 else -1 for k in range(len(PROMPTS))])
        controls[:, 12:, 0] = (0.8 * side)[:, None]
        for clip, s in zip(backend.generate(PROMPTS, controls, seed % 1000 + 50 + i), side):
            moved = sum(measures.shift(clip[f], clip[f + 2]) for f in range(15, 24))
            right.append(np.sign(moved) == -s)
    return {"control_accuracy": float(np.mean(right))}


def eval_drift(backend, rng, seed, frames, prompts, show=None):
    """A long roll-out: its last part against an early part and against autoencoded renders of the same country at the same controls."""
    scenes = [PROMPTS[k] for k in prompts]
    controls = np.stack([wandering(rng, frames) for _ in scenes])
    controls[:, :, 3] *= 0.3
    first = seed % 1000 + 99
    clips = backend.generate(scenes, controls, first)
    early, late = slice(max(4, frames // 20), max(8, frames * 3 // 20)), slice(frames - frames // 10, frames)
    names = ("brightness", "saturation", "detail")
    sums = {n: np.zeros(3) for n in names}
    flows = np.zeros(2)
    equal = 0
    for k, clip in enumerate(clips):
        render = replay(data.country(first, k), controls[k], scenes[k])[late]
        true = backend.autoencoded(render[::2])
        for n in names:
            f = getattr(measures, n)
            sums[n] += [f(clip[early]), f(clip[late]), f(true)]
        flows += [measures.flow(clip[late], every=4), measures.flow(render, every=4)]
        equal += sum(bool((a == b).all()) for a, b in zip(clip[:-1], clip[1:]))
    if show:
        at = [0, frames // 10, frames // 4, frames // 2, frames - 1]
        save_grid(show, [c[at] for c in clips])
    out = {"frames": frames, "equal_in_a_row": equal, "flow": float(flows[0] / max(flows[1], 1e-6))}
    for n in names:
        e, l, t = sums[n]
        out[n + "_vs_early"], out[n + "_vs_render"] = float(l / e), float(l / t)
    return {"drift": out}


def save_grid(path, rows):
    grid = np.concatenate([np.concatenate(list(r), 1) for r in rows], 0)
    world.write_png(path, grid)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "models", "default"))
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--quick", action="store_true", help="within five minutes on two cores")
    p.add_argument("--steps", type=int, default=2)
    p.add_argument("--engine", metavar="BUILD", help="through the C engine of that build folder")
    p.add_argument("--precision", default="default", help="of the engine: f32, bf16, int8")
    p.add_argument("--parts", default="ae,next,prompts,controls,drift")
    p.add_argument("--show", help="prefix of PNG files with sample clips")
    args = p.parse_args()
    torch.manual_seed(args.seed)
    base = data.UNSEEN + 10 ** 6 * (args.seed + 1)
    backend = engine.Engine(args.model, args.steps, args.engine, args.precision) if args.engine else Torch(args.model, args.steps)
    quick, parts = args.quick, args.parts.split(",")
    show = lambda name: args.show and f"{args.show}-{name}.png"
    out, start = {}, time.time()
    rng = np.random.default_rng(args.seed)
    if "ae" in parts:
        out.update(eval_autoencoder(backend, base, 12 if quick else 64))
    if "next" in parts:
        out.update(eval_next(backend, rng, base + 1000, 8 if quick else 32))
    if "prompts" in parts:
        out.update(eval_prompts(backend, rng, base + 2000, 1 if quick else 4, 160 if quick else 800, show("prompts")))
    if "controls" in parts:
        out.update(eval_controls(backend, rng, base + 5000, 1 if quick else 4))
    if "drift" in parts:
        out.update(eval_drift(backend, rng, base + 6000, 1000, range(len(PROMPTS)), show("drift")))
    out["seconds"] = round(time.time() - start)
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in out.items()}))


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Measures a model directory through the C engine of a build folder, on worlds that training never sees; prints JSON.

Each part stands alone: `--parts next,controls --out FILE` measures these and keeps what FILE has of the others.
A figure is {"is": value, "wanted": [least, most], "holds": bool}; "missed" names those that do not hold.
"""
import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

os.environ.setdefault("OMP_WAIT_POLICY", "passive")             # before PyTorch comes: threads that spin on shared cores
                                                                # made the classifier's steps 17 times as long
import classifier
import engine
import measures
import world
from data import UNSEEN
from measures import figure

ATTRIBUTES = ("place", "time", "weather")
STEPS = (1, 2, 4, 8)
# Clips of each part (of "autoencoder", of each place), and numbers of steps of "precision" and "streams".
FULL_SIZE = {"autoencoder": 8, "next": 48, "precision": 16, "steps": STEPS, "streams": 240, "made_steps": STEPS,
             "controls": 32, "rollout": 6, "rollout_frames": 5000, "change": 32, "twenty": 6}
QUICK_SIZE = {"autoencoder": 3, "next": 12, "precision": 6, "steps": (2,), "streams": 48, "made_steps": (2, 8),
              "controls": 6, "rollout": 3, "rollout_frames": 1000, "change": 6, "twenty": 1}


class Bench:
    """What the parts share."""

    def __init__(self, args):
        self.args, self.size = args, QUICK_SIZE if args.quick else FULL_SIZE
        self.library = engine.library(args.engine)
        self.engine = self.open(args.precision)
        known = set(self.engine.config["text"]["tokens"])
        self.scope = [[i for i, name in enumerate(names) if name in known]
                      for names in (world.PLACES, world.TIMES, world.WEATHERS)]
        if not all(self.scope):
            raise SystemExit("the model's vocabulary has no place, no time or no weather of the generator")
        self.known = None

    def open(self, precision):
        return engine.Engine(self.args.model, self.args.engine, precision, self.args.threads, self.library)

    def classifier(self):
        self.known = self.known or classifier.load(self.scope)
        return self.known

    def rng(self, part):
        return np.random.default_rng([self.args.seed, PARTS.index(part)])

    def seeds(self, part, n):
        first = UNSEEN + 10 ** 6 * (self.args.seed + 1) + 10 ** 5 * PARTS.index(part)
        return range(first, first + n)

    def scenes(self, n, rng):
        return classifier.scenes_of(self.scope, n, rng)


PARTS = ["autoencoder", "next", "precision", "streams", "controls", "rollout", "change", "twenty"]


def replay(seed, controls, scenes):
    return world.replay(seed, *classifier.SIZE, controls, scenes)


def held(scene, frames):
    return np.tile(np.asarray(scene, np.int32), (frames, 1))


def wandering(seed, frames):
    """Controls as in training."""
    return world.script(seed, frames)[0]


def each(call, *lists, threads=2):
    """call() of each, side by side: the renderer lets go of the interpreter."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(call, *lists))


def named(values):
    """Values by place under the places' names, the least first."""
    return {world.PLACES[p]: round(v, 3) for p, v in sorted(values.items(), key=lambda u: u[1])}


def by_place(values, scenes):
    """The mean of each place."""
    at = {int(s[0]) for s in scenes}
    mean = {p: float(np.mean([v for v, s in zip(values, scenes) if s[0] == p])) for p in at}
    return named(mean)


def shares(values, of, scenes):
    """values / of: of each place together, for detail is a matter of few pictures; then the places' mean."""
    at = {int(s[0]) for s in scenes}
    total = lambda values, p: sum(v for v, s in zip(values, scenes) if s[0] == p)
    ratio = {p: total(values, p) / total(of, p) for p in at}
    return measures.geometric(list(ratio.values())), named(ratio)


# ---- autoencoder

def autoencoder(b):
    rng = b.rng("autoencoder")
    n = b.size["autoencoder"] * len(b.scope[0])
    scenes, psnr, ssim = b.scenes(n, rng), [], []
    for seed, scene in zip(b.seeds("autoencoder", n), scenes):
        rgb = replay(seed, wandering(seed, 4), held(scene, 4))
        shown = b.engine.autoencoded(rgb)
        psnr.append(measures.psnr(shown, rgb))
        ssim.append(measures.ssim(shown, rgb))
    return {"clips": n, "psnr": figure(np.mean(psnr), 32), "worst_clip": round(min(psnr), 2),
            "ssim": figure(np.mean(ssim)), "psnr_by_place": by_place(psnr, scenes),
            "ssim_by_place": by_place(ssim, scenes)}


# ---- the next frame on true context

def turning(seed, frames, rng):
    controls = wandering(seed, frames)
    controls[:, 0] = rng.uniform(0.5, 1) * rng.choice((-1, 1))
    return controls


def next_clip(e, seed, scene, controls, steps, first=4):
    """PSNR of the frames from `first` on, in each number of steps and of what else could be shown."""
    scenes = held(scene, len(controls))
    rgb, cameras = replay(seed, controls, scenes), world.see(seed, controls, scenes)[4]
    out, before = {k: [] for k in (*steps, "autoencoder", "last_render", "last_decoded")}, None
    e.begin(seed, scene)
    for f, z in enumerate(e.encode(rgb)):
        e.control(controls[f])
        if f >= first:
            for n in steps:
                out[n].append(measures.psnr(e.attempt(n, seed, cameras[f]), rgb[f]))
            out["last_render"].append(measures.psnr(rgb[f - 1], rgb[f]))
            out["last_decoded"].append(measures.psnr(before, rgb[f]))
        e.place(seed, cameras[f])
        before = e.take(z)
        if f >= first:
            out["autoencoder"].append(measures.psnr(before, rgb[f]))
    return {k: float(np.mean(v)) for k, v in out.items()}


def next_clips(b, e, part, steps, frames=10):
    """-> each kind's figures, one a clip; the scenes."""
    rng, n = b.rng(part), b.size[part]
    scenes, rows = b.scenes(n, rng), []
    for seed, scene in zip(b.seeds(part, n), scenes):
        rows.append(next_clip(e, seed, scene, turning(seed, frames, rng), steps))
    return {k: np.array([r[k] for r in rows]) for k in rows[0]}, scenes


def next_frame(b):
    rows, scenes = next_clips(b, b.engine, "next", STEPS)
    mean = {k: float(v.mean()) for k, v in rows.items()}
    repeat = max(mean["last_render"], mean["last_decoded"])
    out = {"clips": len(scenes), "psnr": {str(n): figure(mean[n]) for n in STEPS},
           "repeat_last": {"render": round(mean["last_render"], 2), "decoded": round(mean["last_decoded"], 2)},
           "gain": {str(n): figure(mean[n] - repeat, 3 if n == 2 else None) for n in STEPS},
           "autoencoder": round(mean["autoencoder"], 2),
           "below_autoencoder": {str(n): figure(mean["autoencoder"] - mean[n], None, 3 if n == 2 else None)
                                 for n in STEPS}}
    gain = rows[2] - np.maximum(rows["last_render"], rows["last_decoded"])
    return dict(out, gain_by_place=by_place(gain, scenes))


def precision(b):
    """The next frame at other precisions: what each loses against f32."""
    mean = {}
    for name in ("f32", "int8", "int4"):
        e = b.open(name)
        rows = next_clips(b, e, "precision", b.size["steps"])[0]
        mean[name] = {n: float(rows[n].mean()) for n in b.size["steps"]}
        e.close()
    out = {name: {str(n): round(v, 3) for n, v in values.items()} for name, values in mean.items()}
    for name, most in (("int8", 0.3), ("int4", 1.0)):
        out[name + "_loss"] = {str(n): figure(mean["f32"][n] - v, None, most) for n, v in mean[name].items()}
    return out


# ---- streams from nothing over countries whose renders are known

class Looks:
    """What is kept of clips: features of some frames, what they show, detail of the last four."""
    FRAMES = 24
    AT = [8, 12, 16, 20, 23]

    def __init__(self, known):
        self.known, self.features, self.seen, self.detail = known, [], [], []

    def add(self, clip):
        features = self.known.features(clip[self.AT])
        self.features.append(features)
        self.seen.append(self.known.scene(features))
        self.detail.append(measures.detail(clip[-4:]))

    def distance(self, other):
        return measures.frechet(np.concatenate(self.features), np.concatenate(other.features))


def told(seen, own, meant, least=None):
    """Accuracy of each attribute beside the classifier's own on renders of the same views, where `least` is wanted."""
    seen, own = ((np.array(u) == meant).mean(0) for u in (seen, own))
    return {name: {"streams": round(float(s), 3), "renders": figure(o, least), "ratio": figure(s / max(o, 1e-9), 0.95)}
            for name, s, o in zip(ATTRIBUTES, seen, own)}


def streams(b):
    rng, n, known = b.rng("streams"), b.size["streams"], b.classifier()
    scenes, frames = b.scenes(n, rng), Looks.FRAMES
    flights = [(seed, wandering(seed, frames), held(s, frames)) for seed, s in zip(b.seeds("streams", n), scenes)]
    renders, made, coded, rows = Looks(known), {k: Looks(known) for k in b.size["made_steps"]}, [], []
    for flight, clip in zip(flights, lazily(replay, flights)):
        renders.add(clip)
        coded.append(measures.detail(b.engine.autoencoded(clip[-5:])[-4:]))
        for k, looks in made.items():
            own = np.stack(list(b.engine.fly(*flight, steps=k)))
            looks.add(own)
            if k == 2 and len(rows) < 24:
                rows.append(np.concatenate([own[[0, 8, 23]], clip[[8, 23]]]))
    save(b, "streams", rows)
    sharp = {k: shares(v.detail, renders.detail, scenes) for k, v in made.items()}
    apart = {k: v.distance(renders) for k, v in made.items()}
    of_coded = shares(made[2].detail, coded, scenes)[0]
    return {"clips": n, "prompts": told(made[2].seen, renders.seen, scenes, 0.9),
            "sharpness": {"renders": figure(sharp[2][0], 0.8, 1.25), "autoencoded": figure(of_coded, 0.8, 1.25),
                          "by_place": sharp[2][1], "autoencoder": round(shares(coded, renders.detail, scenes)[0], 3)},
            "sharpness_by_steps": {str(k): round(v[0], 3) for k, v in sharp.items()},
            "sharpness_2_of_8": figure(sharp[2][0] / sharp[8][0], 0.9),
            "frechet_by_steps": {str(k): round(v, 3) for k, v in apart.items()},
            "frechet_2_of_8": figure(apart[2] / apart[8], None, 1.25)}


def lazily(call, arguments, ahead=8):
    """call(*a) of each in order, some of them computed ahead."""
    with ThreadPoolExecutor(1) as pool:
        queue = []
        for a in arguments:
            queue.append(pool.submit(call, *a))
            if len(queue) > ahead:
                yield queue.pop(0).result()
        for job in queue:
            yield job.result()


# ---- controls

ONSET, HELD, STRENGTH = 8, 16, 0.8


def steered(clips):
    """Clips, first a neutral one, then each control + and - -> which of these went the right way."""
    still, right = clips[0], []
    for i, (name, measure) in enumerate(measures.STEERED.items()):
        none = measure(still, still, ONSET)
        right += [measure(clips[1 + 2 * i], still, ONSET) > none, measure(clips[2 + 2 * i], still, ONSET) < none]
    return right


def controls(b):
    rng, n = b.rng("controls"), b.size["controls"]
    ways = np.zeros((1 + 2 * world.CONTROLS, ONSET + HELD, world.CONTROLS), np.float32)
    for i in range(world.CONTROLS):
        ways[1 + 2 * i, ONSET:, i], ways[2 + 2 * i, ONSET:, i] = STRENGTH, -STRENGTH
    made, true = [], []
    for seed, scene in zip(b.seeds("controls", n), b.scenes(n, rng)):
        scenes = held(scene, ONSET + HELD)
        true.append(steered(each(lambda way: replay(seed, way, scenes), ways)))
        made.append(steered([np.stack(list(b.engine.fly(seed, way, scenes))) for way in ways]))
    made, true = (np.array(u).reshape(n, -1, 2).mean((0, 2)) for u in (made, true))
    return {"flights": n, "all": figure(made.mean(), 0.97), "renders": figure(true.mean(), 0.97),
            **{name: {"streams": figure(m, 0.97), "renders": round(float(t), 3)}
               for name, m, t in zip(measures.STEERED, made, true)}}


# ---- long streams

def spans(frames):
    return slice(50, 150), slice(frames - 100, frames)


def rolled(b, seed, controls, scenes):
    """-> early and late frames of a stream, and how many are equal to the one before."""
    early, late = spans(len(controls))
    kept, last, equal = ([], []), None, 0
    for f, rgb in enumerate(b.engine.fly(seed, controls, scenes)):
        equal += last is not None and np.array_equal(rgb, last)
        last = rgb
        for part, span in zip(kept, (early, late)):
            if span.start <= f < span.stop:
                part.append(rgb)
    return np.stack(kept[0]), np.stack(kept[1]), equal


def true_spans(seed, controls, scenes):
    rgb = replay(seed, controls, scenes)
    return [rgb[s].copy() for s in spans(len(controls))]


LIGHT = {"luma": measures.brightness, "saturation": measures.saturation, "detail": measures.detail}
BOUNDS = {"luma": (0.85, 1.15), "saturation": (0.85, 1.15), "detail": (0.8, None)}


def rolled_ratios(b, flight, truth):
    """One stream's late frames against its early ones, as the renders' are, and against autoencoded renders."""
    early, late, equal = rolled(b, *flight)
    coded = b.engine.autoencoded(truth[1])
    row = {"equal": equal, "flow": measures.flow(late, 4) / max(measures.flow(truth[1], 4), 1e-3)}
    for name, f in LIGHT.items():
        row[name + "_early"], row[name + "_coded"] = f(late) / f(early), f(late) / f(coded)
        row[name + "_truth"] = f(truth[1]) / f(truth[0])
    return row, [*early[[0, -1]], *late[[0, -1]], truth[1][-1]]


def rollout(b):
    rng, n, frames = b.rng("rollout"), b.size["rollout"], b.size["rollout_frames"]
    places = [b.scope[0][i * len(b.scope[0]) // n] for i in range(n)]
    scenes = [(p, *s[1:]) for p, s in zip(places, b.scenes(n, rng))]
    flights = [(seed, wandering(seed, frames), held(s, frames)) for seed, s in zip(b.seeds("rollout", n), scenes)]
    rows, pictures = [], []
    for flight, truth in zip(flights, lazily(true_spans, flights, 1)):
        row, strip = rolled_ratios(b, flight, truth)
        rows.append(row)
        pictures.append(strip)
    save(b, "rollout", pictures)
    mean = lambda key: measures.geometric([max(r[key], 1e-3) for r in rows])
    out = {"frames": frames, "equal_in_a_row": figure(sum(r["equal"] for r in rows), None, 0),
           "flow": figure(mean("flow"), 0.7, 1.3)}
    for name in LIGHT:
        out[name] = {"vs_early": figure(mean(name + "_early"), *BOUNDS[name]),
                     "renders_vs_early": round(mean(name + "_truth"), 3),
                     "vs_autoencoded": figure(mean(name + "_coded"), *BOUNDS[name])}
    short = [{k: round(float(v), 3) for k, v in r.items()} for r in rows]
    return dict(out, streams=[{"prompt": engine.words(s), **r} for s, r in zip(scenes, short)])


# ---- prompts that change

CHANGE, AFTER, SETTLED = 32, 48, 24         # frames before it; until it has to be done; that are looked at then
SEEN_STEP = 5.0                             # levels: 2 % of white, hardly seen


def other_scene(scene, scope, rng):
    """Another place, and any time and weather."""
    return (rng.choice([p for p in scope[0] if p != scene[0]]), rng.choice(scope[1]), rng.choice(scope[2]))


def change_of(clip):
    """Light that leaves the span of before and after; the largest step of light and of pixels from frame to frame."""
    light = measures.luma(clip).mean((1, 2))
    out = measures.excursion(light, slice(0, CHANGE), slice(CHANGE + AFTER, None))
    steps = np.abs(np.diff(clip.astype(np.int16), axis=0)).mean((1, 2, 3))
    return out, float(np.abs(np.diff(light)).max()), float(steps[CHANGE - 1:CHANGE + AFTER].max())


def change(b):
    rng, n, known = b.rng("change"), b.size["change"], b.classifier()
    frames, after = CHANGE + AFTER + SETTLED, slice(CHANGE + AFTER, CHANGE + AFTER + 4)
    before, flights = b.scenes(n, rng), []
    for seed, scene in zip(b.seeds("change", n), before):
        then = other_scene(scene, b.scope, rng)
        scenes = np.concatenate([held(scene, CHANGE), held(then, frames - CHANGE)])
        flights.append((seed, wandering(seed, frames), scenes))
    made, true, seen, own, rows = [], [], [], [], []
    for flight, render in zip(flights, lazily(replay, flights, 2)):
        clip = np.stack(list(b.engine.fly(*flight)))
        made.append(change_of(clip))
        true.append(change_of(render))
        seen.append(known.scene(known.features(clip[after])))
        own.append(known.scene(known.features(render[after])))
        rows.append(clip[[CHANGE - 1, CHANGE + 6, CHANGE + 12, CHANGE + 24, CHANGE + AFTER]])
    save(b, "change", rows)
    meant = np.array([f[2][-1] for f in flights])
    return {"clips": n, **change_figures(np.array(made), np.array(true)), "prompt": told(seen, own, meant)}


def change_figures(made, true):
    """Margins: what the renderer's own light does on the same flight and a step that is hardly seen."""
    calm = (made[:, 0] <= true[:, 0] + SEEN_STEP) & (made[:, 1] <= true[:, 1] + SEEN_STEP)
    beyond = (made - true).max(0)
    return {"without_flash": figure(calm.mean(), 1), "worst_excursion": round(float(beyond[0]), 2),
            "worst_step": round(float(beyond[1]), 2),
            "largest_step_vs_renders": figure(np.median(made[:, 2] / true[:, 2]), None, 2)}


EACH, MANY, SAME = 48, 20, 5                # frames of a prompt; prompts of a session, the last are the first again


def many_scenes(b, rng):
    some = b.scenes(MANY - SAME, rng)
    return np.concatenate([some, some[:SAME]])


def twenty(b):
    """Twenty prompts on one session; the last five are the first five again, and should be as good."""
    rng, n, known = b.rng("twenty"), b.size["twenty"], b.classifier()
    flights, ends = [], range(EACH - 4, EACH * MANY, EACH)
    for seed in b.seeds("twenty", n):
        flights.append((seed, wandering(seed, EACH * MANY), np.repeat(many_scenes(b, rng), EACH, 0)))
    right, share, rows = [], [], []
    for flight, render in zip(flights, lazily(replay, flights, 1)):
        clip = np.stack(list(b.engine.fly(*flight)))
        right.append([np.array(known.scene(known.features(clip[f:f + 4]))) == flight[2][f] for f in ends])
        share.append([measures.detail(clip[f:f + 4]) / max(measures.detail(render[f:f + 4]), 1e-3) for f in ends])
        rows += [clip[list(ends)[:SAME]], clip[list(ends)[-SAME:]]]
    save(b, "twenty", rows)
    right, share = np.array(right, float), np.array(share)
    first, last = right[:, :SAME].mean(), right[:, -SAME:].mean()
    sharp = [measures.geometric(share[:, at]) for at in (slice(SAME), slice(-SAME, None))]
    return {"sessions": n, "right_first": round(first, 3), "right_last": round(last, 3),
            "right_last_of_first": figure(last / max(first, 1e-9), 0.95),
            "right_by_prompt": [round(v, 2) for v in right.mean((0, 2)).tolist()],
            "sharpness_last_of_first": figure(sharp[1] / sharp[0], 0.8)}


# ---- all of it

def save(b, name, rows):
    """Sample pictures, a clip a row."""
    if b.args.show:
        world.write_png(f"{b.args.show}-{name}.png", np.concatenate([np.concatenate(list(r), 1) for r in rows], 0))


CALLS = dict(zip(PARTS, (autoencoder, next_frame, precision, streams, controls, rollout, change, twenty)))


def measure(args, out):
    b = Bench(args)
    for name in args.parts.split(","):
        start = time.time()
        figures = CALLS[name](b)
        seconds = round(time.time() - start)
        print(f"{name}: {seconds} s", file=sys.stderr, flush=True)
        out["parts"][name] = {"quick": args.quick, "precision": args.precision, "seconds": seconds, **figures}
        out["missed"], out["wanted"] = measures.missed(out["parts"])
        if args.out:
            with open(args.out + ".part", "w") as f:
                json.dump(out, f, indent=1)
            os.replace(args.out + ".part", args.out)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.normpath(os.path.join(here, "..", ".."))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default=os.path.join(root, "models", "default"))
    p.add_argument("--engine", metavar="BUILD", default=os.path.join(root, "build"), help="a build of this source tree")
    p.add_argument("--precision", default="default", choices=("default", "f32", "bf16", "int8", "int4"),
                   help="of all parts but \"precision\"")
    p.add_argument("--threads", type=int, default=2, help="of the engine; 1 where the cores are shared")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--quick", action="store_true",
                   help="within five minutes on two cores, once the classifier is trained")
    p.add_argument("--parts", default=",".join(PARTS), help="some of %(default)s")
    p.add_argument("--out", metavar="FILE", help="keep the figures there, part by part; those of other parts stay")
    p.add_argument("--show", metavar="PREFIX", help="of PNG files with sample clips")
    args = p.parse_args()
    if not set(args.parts.split(",")) <= set(PARTS):
        p.error("--parts are some of " + ",".join(PARTS))
    out = {"parts": {}}
    if args.out and os.path.exists(args.out):
        with open(args.out) as f:
            out = json.load(f)
    measure(args, out)
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    sys.exit(main())

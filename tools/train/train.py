# SPDX-License-Identifier: Apache-2.0
"""Trains the shipped model in stages, in pieces that resume exactly: `train.py --minutes 9`, again and again until "all done".

Stages in order: STAGES; their minutes of training: MINUTES (0: until the data sets are full).
One process, threads only; its id is in WORK/pid. A stage's schedules follow the time spent in it, so a busy machine trains less, not longer.
"""
import argparse
import importlib
import json
import os
import signal
import time

import torch

STAGES = ["ae", "latents", "small", "full", "clips", "heights", "ground", "follow", "decoder"]
MINUTES = {"ae": 26, "latents": 0, "small": 25, "full": 38, "clips": 40, "heights": 3, "ground": 15, "follow": 60, "decoder": 25}
MODULES = {"ae": "stage_ae", "latents": "stage_latents", "clips": "stage_ground", "heights": "stage_ground", "ground": "stage_ground",
           "follow": "stage_follow", "decoder": "stage_decoder"}


class Run:
    """What a stage needs to know: where to work, how long, and how far it is."""

    def __init__(self, args):
        self.work, self.seed = args.work, args.seed
        self.minutes = dict(MINUTES, **{k: float(v) for k, v in (p.split("=") for p in args.plan.split(",") if p)})
        self.deadline = time.time() + args.minutes * 60
        self.state = {"stage": STAGES[0], "spent": {}}
        if os.path.exists(self.path("state.json")):
            self.state = json.load(open(self.path("state.json")))
        self.last = time.time()

    def path(self, name):
        return os.path.join(self.work, name)

    @property
    def stage(self):
        return self.state["stage"]

    def tick(self):
        """Counts the time since the last call (at most 5 s of it: pauses are not training) -> progress of the stage, 0..1."""
        now = time.time()
        spent = self.state["spent"]
        spent[self.stage] = spent.get(self.stage, 0) + min(now - self.last, 5)
        self.last = now
        return min(spent[self.stage] / (60 * self.minutes[self.stage] + 1e-9), 1.0)

    def progress(self, stages):
        """Progress over several stages together."""
        total = sum(self.minutes[s] for s in stages) * 60
        return min(sum(min(self.state["spent"].get(s, 0), self.minutes[s] * 60) for s in stages) / total, 1.0)

    def out_of_time(self):
        return time.time() > self.deadline

    def save(self, **tensors):
        """Writes NAME.pt for each, then the state, each by rename."""
        for name, value in tensors.items():
            torch.save(value, self.path(name + ".new"))
            os.replace(self.path(name + ".new"), self.path(name + ".pt"))
        with open(self.path("state.new"), "w") as f:
            json.dump(self.state, f)
        os.replace(self.path("state.new"), self.path("state.json"))

    def load(self, name):
        return torch.load(self.path(name + ".pt"), map_location="cpu") if os.path.exists(self.path(name + ".pt")) else None

    def finish(self):
        """Goes on to the next stage."""
        i = STAGES.index(self.stage) + 1
        self.state["stage"] = STAGES[i] if i < len(STAGES) else "done"
        self.save()

    def log(self, **values):
        text = " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items())
        print(time.strftime("%H:%M:%S"), self.stage, text, flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--work", default=os.path.expanduser("~/.cache/zoetrope-train"))
    p.add_argument("--minutes", type=float, default=9, help="how long this piece runs")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--plan", default="", help="minutes per stage, as in ae=20,small=30")
    p.add_argument("--threads", type=int, default=2)
    args = p.parse_args()
    os.makedirs(args.work, exist_ok=True)
    torch.set_num_threads(args.threads)
    with open(os.path.join(args.work, "pid"), "w") as f:
        f.write(f"{os.getpid()}\n")
    run = Run(args)
    signal.signal(signal.SIGTERM, lambda *_: setattr(run, "deadline", 0))                  # save and stop
    while run.stage != "done" and not run.out_of_time():
        importlib.import_module(MODULES.get(run.stage, "stage_video")).train(run)
    print("all done" if run.stage == "done" else "to be continued", flush=True)


if __name__ == "__main__":
    main()

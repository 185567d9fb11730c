#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times one whole transformer step against PyTorch (bf16) and OpenVINO (int8), on this machine, in one interleaved run.

  tools/bench-peers.py [--build DIR] [--threads N] [--rounds N] [--venv DIR] [--json]

The peers get the same shapes with random weights: modulated norms, fused q/k/v, q/k norms, rotary positions, attention
over the whole window, cross-attention to the text, feed-forward. They have no mixture of experts: theirs is a dense
twin of as many active multiplications, one matrix of (top-k + shared) times the inner width. The past keys and values
are constants to them, which spares them what the cache costs. The first call makes a virtual environment and installs
the packages from PyPI (with PyTorch some gigabytes).
"""
import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PACKAGES = ["torch>=2.6", "numpy", "openvino>=2025.0", "nncf>=2.15"]
WIDTH, HEIGHT = 256, 144
DIM, HEADS, LAYERS, WINDOW, TEXT = 256, 4, 8, 8, 16
EXPERTS, ACTIVE, INTER = 8, 3, 224      # ACTIVE: top-2 and one shared
IN = 4 * 50                     # of a token: two latents before, their masks, the noisy one
OUT = 4 * 16
TOKENS = WIDTH // 16 * (HEIGHT // 16)


def arguments():
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    p = argparse.ArgumentParser(description="Times one step against PyTorch and OpenVINO.")
    p.add_argument("--build", type=Path, default=Path(__file__).resolve().parent.parent / "build", help="(build)")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each program (the CPUs)")
    p.add_argument("--rounds", type=int, default=5, help="each takes a second of everyone (5)")
    p.add_argument("--venv", type=Path, default=cache / "zoetrope" / "bench-peers", help="environment of the peers")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout")
    p.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return p.parse_args()


def enter(a):
    """Makes the environment when there is none and goes on inside it."""
    python = a.venv / "bin" / "python"
    ready = a.venv / "ready"
    if not ready.exists():
        print(f"making {a.venv}: {' '.join(PACKAGES)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(a.venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        ready.touch()
    os.execv(python, [str(python), __file__, "--inside", *sys.argv[1:]])


def network():
    import torch
    import torch.nn.functional as F
    from torch import nn

    def rms(x, weight):
        return F.rms_norm(x, (DIM,), weight, 1e-6)

    def heads(x):
        return x.view(-1, HEADS, DIM // HEADS).transpose(0, 1)

    def rotate(x, cos, sin):            # pairs, of [heads, tokens, D]
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.modulation = nn.Parameter(torch.randn(6, DIM) * 0.1)
            self.qkv, self.o = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
            self.cross_q, self.cross_o = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
            self.norm_q, self.norm_k, self.norm_cross = (nn.Parameter(torch.ones(DIM)) for _ in range(3))
            self.norm3 = nn.LayerNorm(DIM, 1e-6)
            self.up = nn.Linear(DIM, 2 * ACTIVE * INTER, bias=False)
            self.down = nn.Linear(ACTIVE * INTER, DIM, bias=False)
            past = (WINDOW - 1) * TOKENS
            for name, n in (("k", past), ("v", past), ("text_k", TEXT), ("text_v", TEXT)):
                self.register_buffer(name, torch.randn(1, HEADS, n, DIM // HEADS))

        def forward(self, x, e, cos, sin):
            m = self.modulation + e
            y = F.layer_norm(x, (DIM,), eps=1e-6) * (1 + m[1]) + m[0]
            q, k, v = self.qkv(y).chunk(3, -1)
            q = rotate(heads(rms(q, self.norm_q)), cos, sin)
            k = rotate(heads(rms(k, self.norm_k)), cos, sin)
            keys, values = torch.cat((self.k, k[None]), 2), torch.cat((self.v, heads(v)[None]), 2)
            y = F.scaled_dot_product_attention(q[None], keys, values)[0].transpose(0, 1).reshape(-1, DIM)
            x = x + m[2] * self.o(y)
            q = heads(rms(self.cross_q(self.norm3(x)), self.norm_cross))
            y = F.scaled_dot_product_attention(q[None], self.text_k, self.text_v)[0].transpose(0, 1).reshape(-1, DIM)
            x = x + self.cross_o(y)
            y = F.layer_norm(x, (DIM,), eps=1e-6) * (1 + m[4]) + m[3]
            a, b = self.up(y).chunk(2, -1)
            return x + m[5] * self.down(F.silu(a) * b)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.head = nn.Linear(IN, DIM), nn.Linear(DIM, OUT)
            self.time = nn.Sequential(nn.Linear(256, DIM), nn.SiLU(), nn.Linear(DIM, DIM))
            self.projection = nn.Linear(DIM, 6 * DIM)
            self.head_modulation = nn.Parameter(torch.randn(2, DIM) * 0.1)
            self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))

        def forward(self, x, wave, cos, sin):
            e = self.time(wave)
            e0 = self.projection(F.silu(e)).view(6, DIM)
            x = self.patch(x)
            for b in self.blocks:
                x = b(x, e0, cos, sin)
            m = self.head_modulation + e
            return self.head(F.layer_norm(x, (DIM,), eps=1e-6) * (1 + m[1]) + m[0])

    torch.manual_seed(1)
    angle = torch.randn(TOKENS, DIM // HEADS // 2)
    inputs = (torch.randn(TOKENS, IN), torch.randn(1, 256), angle.cos(), angle.sin())
    return Network().eval(), inputs


def torch_peers(threads):
    import torch

    torch.set_num_threads(threads)
    net, inputs = network()
    net, inputs = net.to(torch.bfloat16), tuple(t.to(torch.bfloat16) for t in inputs)

    def runner(f):
        def run():
            with torch.inference_mode():
                f(*inputs)
        run()
        return run

    name = f"pytorch {torch.__version__.split('+')[0]} bf16"
    peers = {name: runner(net)}
    try:
        peers[name + " compiled"] = runner(torch.compile(net))
    except Exception as e:              # no compiler, most often
        print(f"torch.compile: {str(e).splitlines()[0]}", file=sys.stderr)
    return peers


def openvino_peers(threads):
    import nncf
    import openvino as ov

    net, inputs = network()
    model = ov.convert_model(net, example_input=inputs)
    model.reshape({port: list(t.shape) for port, t in zip(model.inputs, inputs)})
    arrays = [t.numpy() for t in inputs]
    data = nncf.Dataset([[a * s for a, s in zip(arrays, (s, 1, 1, 1))] for s in (0.5, 0.75, 1.0)])
    model = nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=3)
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()

    def run():
        request.infer(arrays)
    run()
    return {f"openvino {ov.__version__.split('-')[0]} int8": run}


def time_for(seconds, run):
    samples, until = [], time.monotonic() + seconds
    while time.monotonic() < until or len(samples) < 3:
        before = time.perf_counter()
        run()
        samples.append((time.perf_counter() - before) * 1e3)
    return statistics.median(samples)


def time_own(a, model, kv):
    command = [a.build / "apps" / "zoetrope-bench", "step", "--json", "--seconds", "1", "-m", model, "--kv", kv,
               "--threads", str(a.threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def report(result):
    print(f"{TOKENS} tokens, {DIM} x {LAYERS}, window {WINDOW}, {result['threads']} threads")
    for name, ms in result["ms"].items():
        print(f"  {name:40} {ms:8.2f} ms")
    for name, p in result["peers"].items():
        ratios = ", ".join(f"{r:.2f}" for r in p["times_as_long"].values())
        print(f"  {name:40} {p['ms']:8.2f} ms   {ratios} times as long")


def main():
    a = arguments()
    if not a.inside:
        enter(a)
    with contextlib.redirect_stdout(sys.stderr):        # they show what they do
        peers = {**torch_peers(a.threads), **openvino_peers(a.threads)}
    times = {name: [] for name in peers}
    own = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        subprocess.run([a.build / "tools" / "make_model", "--dim", str(DIM), "--heads", str(HEADS), "--layers",
                        str(LAYERS), "--experts", str(EXPERTS), "--inter", str(INTER), "--window", str(WINDOW),
                        "--size", f"{WIDTH}x{HEIGHT}", "--quant", "int8", model], check=True)
        for _ in range(a.rounds):
            for kv in ("float", "int8"):
                step = time_own(a, model, kv)
                of_keys = "bf16" if kv == "float" else kv
                name = f"zoetrope {step['level']} {step['precision']}, keys and values {of_keys}"
                own.setdefault(name, []).append(step["ms"]["p50"])
            for name, run in peers.items():
                times[name].append(time_for(1, run))
    ms = {name: statistics.median(t) for name, t in own.items()}
    result = {"tokens": TOKENS, "dim": DIM, "layers": LAYERS, "window": WINDOW, "threads": a.threads, "ms": ms,
              "peers": {}}
    for name, t in times.items():
        median = statistics.median(t)
        result["peers"][name] = {"ms": median, "times_as_long": {own: median / m for own, m in ms.items()}}
    if a.json:
        print(json.dumps(result))
    else:
        report(result)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Writes a model directory (doc/formats.md) from the trainer's work folder, and reads one back into PyTorch."""
import argparse
import json
import os

import torch

import tensors
import world
from ae import LATENT, Decoder, Encoder
from data import FIRST, KINDS, tokens
from dit import REACH, Flyover
from sampling import Stream

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPTS = tokens(torch.tensor([[0, 2, 0], [2, 1, 0], [3, 4, 0]]))[:, 1:].tolist()
FRAMES = 3
STACKED = {"w1": "w1", "w3": "w3", "w2": "w2"}
SHARED = {"s1": "w1", "s3": "w3", "s2": "w2"}
WINDOW = 1      # own frame only: the last two stages train without more, and long streams stay clean with it (8 gains nothing one frame ahead)


def split_experts(state):
    """The trainer's stacked tensors under the file's names; counters are left out."""
    out = {}
    for name, t in state.items():
        stem, _, leaf = name.rpartition(".")
        if stem.endswith(".ffn") and leaf in STACKED:
            out.update({f"{stem}.experts.{i}.{leaf}.weight": w for i, w in enumerate(t)})
        elif stem.endswith(".ffn") and leaf in SHARED:
            out[f"{stem}.shared_experts.{SHARED[leaf]}.weight"] = t
        elif leaf not in ("load", "last"):
            out[name] = t[None] if t.dim() == 0 else t
    return out


def pixels(state, reach):
    """The head's movements in latent pixels."""
    out = dict(state)
    for name in ("head.head.weight", "head.head.bias"):
        rows = out[name].clone().unflatten(0, (4, -1))
        rows[:, LATENT:LATENT + 2] *= reach
        out[name] = rows.flatten(0, 1)
    return out


def join_experts(state, model):
    """The other way round: a state that `model` loads."""
    out = {}
    for name, own in model.state_dict().items():
        stem, _, leaf = name.rpartition(".")
        if stem.endswith(".ffn") and leaf in STACKED:
            out[name] = torch.stack([state[f"{stem}.experts.{i}.{leaf}.weight"] for i in range(len(own))])
        elif stem.endswith(".ffn") and leaf in SHARED:
            out[name] = state[f"{stem}.shared_experts.{SHARED[leaf]}.weight"]
        else:
            out[name] = state.get(name, own).view(own.shape)
    return out


def quantised(name, t):
    """True for the linears of the blocks except the router."""
    return name.startswith("blocks.") and t.dim() == 2 and ".gate." not in name


def pack(state, decoder):
    """Names and types of the weight file."""
    out = {}
    for name, t in split_experts(pixels(state, REACH)).items():
        if quantised(name, t):
            out[name], out[name + "_scale"] = tensors.quantise(t)
        else:
            out[name] = t.float() if t.dim() < 2 or "modulation" in name or ".gate." in name or "position" in name else t.half()
    out.update({"decoder." + k: (v.half() if v.dim() > 1 else v.float()) for k, v in decoder.items()})
    return out


def config_of(config):
    keep = ("dim", "num_heads", "num_layers", "eps", "freq_dim", "in_dim", "out_dim", "previous_frames", "previous_shifts", "residual", "warp", "position_embedding", "ground", "n_routed_experts",
            "n_activated_experts", "n_shared_experts", "moe_inter_dim")
    with open(os.path.join(HERE, "words.json")) as f:
        words = json.load(f)
    out = {"_class_name": "ZoetropeModel", "version": 1, "name": "flyover"}
    out.update({k: config[k] for k in keep})
    out.update({
        "score_func": "sigmoid", "route_scale": 1.0, "chunk_frames": 1, "window_frames": WINDOW, "sink_frames": 0,
        "trained_windows": [1, 4, 6, 8], "trained_top_k": [1, 2], "controls": ["yaw", "pitch", "speed", "climb"],
        "sampler": "euler", "shift": 3.0, "step_embed": True, "first_frame_steps": 2, "steps": 2,
        "width": 256, "height": 144, "fps": 24, "rope_grid": config["rope_grid"],
        "text": {"encoder": "words", "text_dim": config["text_dim"], "max_tokens": 16, "default_prompt": "mountains at sunset",
                 "tokens": words["tokens"], "groups": {k: [FIRST[k], FIRST[k] + n - 1] for k, n in KINDS.items()},
                 "usual": tokens(torch.tensor([0, 1, 0]))[1:].tolist(), "words": words["words"]},
        "decoder": {"type": "tiny", "channels": [64, 48, 32]}, "weights": "flyover.safetensors"})
    return out


def load(folder):
    """A model directory -> (transformer, decoder, config), f32, from the de-quantised weights."""
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    state = tensors.dequantise(tensors.read(os.path.join(folder, config["weights"])))
    model = Flyover(dict(config, n_controls=len(config["controls"]), n_tokens=len(config["text"]["tokens"]),
                         text_dim=config["text"]["text_dim"]))
    model.load_state_dict(join_experts(state, model))
    model.reach = 1.0
    decoder = Decoder(config["decoder"]["channels"])
    decoder.load_state_dict({k[8:]: v for k, v in state.items() if k.startswith("decoder.")})
    return model.eval().requires_grad_(False), decoder.eval().requires_grad_(False), config


def load_encoder(folder):
    encoder = Encoder()
    state = {k[8:]: v.float() for k, v in tensors.read(os.path.join(folder, "encoder.safetensors")).items()}
    encoder.load_state_dict(state, strict=False)                                           # mean 0 and deviation 1 stay
    return encoder.eval().requires_grad_(False)


def fold(encoder):
    """The encoder's tensors with the latents' statistics inside the last layers."""
    state = {k: v.clone() for k, v in encoder.state_dict().items()}
    mean, std = state.pop("mean"), state.pop("std")
    state["out.bias"] = (state["out.bias"] - mean) / std
    for name in ("out.weight", "skip.weight"):
        state[name] = state[name] / std[:, None, None, None]
    return {"encoder." + k: v.bfloat16() for k, v in state.items()}


@torch.no_grad()
def reference(folder):
    """Test vectors: for three seeds noise, controls and token ids in, latents after each step and decoded frames out."""
    model, decoder, config = load(folder)
    h, w = config["height"] // 8, config["width"] // 8
    out = {}
    for seed, prompt in enumerate(PROMPTS):
        rng = torch.Generator().manual_seed(seed)
        noise = torch.randn(FRAMES, 16, h, w, generator=rng)
        control = torch.tanh(torch.randn(FRAMES, 4, generator=rng) * 0.5)
        ids = torch.tensor([[0] + prompt])
        stream, state = Stream(model, window=config["window_frames"], first_steps=config["first_frame_steps"], autocast=False,
                               flights=[world.Flight(seed, config["ground"].get("depths", 36))]), {}
        out[f"{seed}.noise"], out[f"{seed}.controls"], out[f"{seed}.tokens"] = noise, control, ids[0].int()
        for f in range(FRAMES):
            keep = []
            z = stream.make(None, control[f:f + 1], ids, noise=noise[f:f + 1], keep=keep)
            out[f"{seed}.latents.{f}"] = torch.cat(keep)
            out[f"{seed}.rgb.{f}"] = decoder(z, 1, state)[0].half()
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--work", default=os.path.expanduser("~/.cache/zoetrope-train"))
    p.add_argument("--out", required=True, help="the model directory to write")
    args = p.parse_args()
    os.makedirs(args.out, exist_ok=True)
    at = lambda name: os.path.join(args.out, name)
    video = torch.load(os.path.join(args.work, "video.pt"), map_location="cpu")
    ae = torch.load(os.path.join(args.work, "ae.pt"), map_location="cpu")
    encoder = Encoder()
    encoder.load_state_dict(ae["encoder"])
    with open(at("config.json"), "w") as f:
        json.dump(config_of(video["config"]), f, indent=1)
        f.write("\n")
    tensors.write(at("flyover.safetensors"), pack(video["ema"], ae["decoder"]))
    tensors.write(at("encoder.safetensors"), fold(encoder))
    tensors.write(at("flyover-reference.safetensors"), reference(args.out))
    for name in sorted(os.listdir(args.out)):
        print(name, os.path.getsize(at(name)))


if __name__ == "__main__":
    main()

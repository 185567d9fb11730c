# SPDX-License-Identifier: Apache-2.0
"""Reads and writes safetensors files, and the int8 matrices of doc/formats.md."""
import json
import struct

import torch

NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int8: "I8", torch.int32: "I32", torch.int64: "I64"}
TYPES = {v: k for k, v in NAMES.items()}


def write(path, tensors, note=None):
    head, at, parts = {}, 0, []
    if note:
        head["__metadata__"] = note
    for name, t in tensors.items():
        raw = t.detach().cpu().contiguous().view(-1)
        data = (raw.view(torch.int16) if raw.dtype is torch.bfloat16 else raw).numpy().tobytes()
        head[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
        parts.append(data)
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for data in parts:
            f.write(data)


def read(path):
    with open(path, "rb") as f:
        blob = f.read()
    n = struct.unpack("<Q", blob[:8])[0]
    out = {}
    for name, e in json.loads(blob[8:8 + n]).items():
        if name != "__metadata__":
            a, b = e["data_offsets"]
            raw = torch.frombuffer(bytearray(blob[8 + n + a:8 + n + b]), dtype=TYPES[e["dtype"]])
            out[name] = raw.view(e["shape"])
    return out


def quantise(w):
    """[out, in] -> int8 [out, in] and f32 scale [out]; w is about q * scale."""
    scale = w.float().abs().amax(1).clamp(min=1e-8) / 127
    return torch.round(w.float() / scale[:, None]).clamp(-127, 127).to(torch.int8), scale


def dequantise(tensors):
    """The tensors of a file in f32, scales folded in."""
    out = {}
    for name, t in tensors.items():
        if not name.endswith("_scale"):
            scale = tensors.get(name + "_scale")
            out[name] = t.float() if scale is None else t.float() * scale[:, None]
    return out

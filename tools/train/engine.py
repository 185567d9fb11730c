# SPDX-License-Identifier: Apache-2.0
"""The C engine as a back-end of eval.py: engine.c compiled against a build folder's libraries, through ctypes."""
import ctypes
import glob
import json
import os
import subprocess
import tempfile

import numpy as np
import torch

import data
import world
from ae import to_bytes, to_unit
from export import load_encoder

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", ".."))


def library(build):
    """engine.c and the static libraries of a build folder as one shared library."""
    out = os.path.join(tempfile.mkdtemp(), "libzt_eval.so")
    parts = [a for d in ("diffusion", "kernels", "base") for a in sorted(glob.glob(os.path.join(build, d, "*.a")))]
    cc = [os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", "-I" + ROOT, "-I" + build]
    more = [a for name in ("libseccomp", "sentencepiece")                                   # of what the build has found
            for a in subprocess.run(["pkg-config", "--libs", name], capture_output=True, text=True).stdout.split()]
    subprocess.run(cc + [os.path.join(HERE, "engine.c"), "-o", out, "-Wl,--start-group"] + parts +
                   ["-Wl,--end-group", "-lcjson"] + more + ["-lstdc++", "-lm", "-lpthread"], check=True)
    lib = ctypes.CDLL(out)
    lib.zt_eval_open.restype = ctypes.c_void_p
    lib.zt_eval_open.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
    lib.zt_eval_close.argtypes = [ctypes.c_void_p]
    lib.zt_eval_reset.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    lib.zt_eval_prompt.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    lib.zt_eval_controls.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    lib.zt_eval_place.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p]
    lib.zt_eval_next.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    lib.zt_eval_force.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    return lib


class Engine:
    """Same calls as eval.Torch; every frame is made or taken in by the C engine."""

    def __init__(self, folder, steps, build, precision="default", threads=2):
        with open(os.path.join(folder, "config.json")) as f:
            self.config = json.load(f)
        self.w, self.h = self.config["width"], self.config["height"]
        self.lib, self.steps, self.encoder = library(build), steps, load_encoder(folder)
        self.e = self.lib.zt_eval_open(folder.encode(), precision.encode(), threads)
        if not self.e:
            raise RuntimeError("the engine does not open " + folder)

    def check(self, err):
        if err < 0:
            raise RuntimeError("the engine says " + os.strerror(-err))

    def begin(self, scene, seed=0):
        self.check(self.lib.zt_eval_reset(self.e, seed))
        if scene is not None:
            text = " ".join(names[int(i)] for names, i in zip((world.PLACES, world.TIMES, world.WEATHERS), scene))
            self.check(self.lib.zt_eval_prompt(self.e, text.encode()))

    def control(self, values):
        values = np.ascontiguousarray(values, np.float32)
        self.lib.zt_eval_controls(self.e, values.ctypes.data)

    def make(self, steps):
        """The next frame -> latents [16, h / 8, w / 8], picture [3, h, w]."""
        z = np.empty((16, self.h // 8, self.w // 8), np.float32)
        rgb = np.empty((3, self.h, self.w), np.float32)
        self.check(self.lib.zt_eval_next(self.e, steps, z.ctypes.data, rgb.ctypes.data))
        return z, rgb

    def take(self, z):
        """A given frame -> picture [3, h, w]."""
        z, rgb = np.ascontiguousarray(z, np.float32), np.empty((3, self.h, self.w), np.float32)
        self.check(self.lib.zt_eval_force(self.e, z.ctypes.data, rgb.ctypes.data))
        return rgb

    @torch.no_grad()
    def encode(self, rgb):
        with torch.autocast("cpu", torch.bfloat16):
            return self.encoder(to_unit(torch.from_numpy(rgb)).contiguous(memory_format=torch.channels_last)).float()

    def decode(self, z, clips=1):
        out = []
        for clip in z.unflatten(0, (clips, -1)).numpy():
            self.begin(None)
            out += [self.take(f) for f in clip]
        return torch.from_numpy(np.stack(out))

    def place(self, world, camera):
        camera = np.ascontiguousarray(camera, np.float32)
        self.lib.zt_eval_place(self.e, world, camera.ctypes.data)

    def next(self, z, controls, scene, seed):
        """Frames 4.. of a clip of world `seed`, one step ahead of the true ones before; the earlier ones are copied."""
        cameras = world.see(seed, controls, np.tile(np.array(scene, np.int32), (len(controls), 1)))[4]
        before, out = max(self.config["window_frames"] - 1, self.config["previous_frames"]), z.clone()
        for f in range(4, len(z)):
            self.begin(scene, f)
            for p in range(max(0, f - before), f):
                self.control(controls[p])
                self.place(seed, cameras[p])
                self.take(z[p].numpy())
            self.control(controls[f])
            self.place(seed, cameras[f])
            out[f] = torch.from_numpy(self.make(self.steps)[0])
        return out

    def generate(self, scenes, controls, seed):
        clips = np.empty((*controls.shape[:2], self.h, self.w, 3), np.uint8)
        for i, scene in enumerate(scenes):
            self.begin(scene, data.country(seed, i))
            for f, c in enumerate(controls[i]):
                self.control(c)
                rgb = self.make(self.steps if f else self.config["first_frame_steps"])[1]
                clips[i, f] = to_bytes(torch.from_numpy(rgb)).numpy()
        return clips

    def autoencoded(self, rgb):
        return to_bytes(self.decode(self.encode(rgb))).numpy()

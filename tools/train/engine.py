# SPDX-License-Identifier: Apache-2.0
"""The C engine for eval.py: engine.c compiled against a build's libraries, through ctypes; pictures are bytes."""
import ctypes
import glob
import json
import os
import subprocess
import tempfile

import numpy as np
import torch

import world
from ae import to_unit
from export import load_encoder

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", ".."))


def compiled(build, folder):
    """engine.c and the static libraries of a build folder as one shared library."""
    out = os.path.join(folder, "libzt_eval.so")
    parts = [a for d in ("diffusion", "kernels", "base") for a in sorted(glob.glob(os.path.join(build, d, "*.a")))]
    if not parts:
        raise SystemExit(f"{build} is no build of this source tree: meson setup and ninja make one")
    cc = [os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", "-I" + ROOT, "-I" + build]
    more = []
    for name in ("libseccomp", "sentencepiece"):                # of what the build has found
        more += subprocess.run(["pkg-config", "--libs", name], capture_output=True, text=True).stdout.split()
    subprocess.run(cc + [os.path.join(HERE, "engine.c"), "-o", out, "-Wl,--start-group"] + parts +
                   ["-Wl,--end-group", "-lcjson"] + more + ["-lstdc++", "-lm", "-lpthread"], check=True)
    return out


def library(build):
    with tempfile.TemporaryDirectory() as folder:
        lib = ctypes.CDLL(compiled(build, folder))
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    lib.zt_eval_open.restype = pointer
    lib.zt_eval_open.argtypes = [text, text, number]
    lib.zt_eval_close.argtypes = [pointer]
    lib.zt_eval_reset.argtypes = [pointer, ctypes.c_uint64]
    lib.zt_eval_prompt.argtypes = [pointer, text]
    lib.zt_eval_controls.argtypes = [pointer, pointer]
    lib.zt_eval_place.argtypes = [pointer, ctypes.c_uint64, pointer]
    lib.zt_eval_next.argtypes = [pointer, number, pointer]
    lib.zt_eval_try.argtypes = [pointer, number, ctypes.c_uint64, pointer, pointer]
    lib.zt_eval_force.argtypes = [pointer, pointer, pointer]
    return lib


def words(scene):
    """The prompt of a scene."""
    return " ".join(names[i] for names, i in zip((world.PLACES, world.TIMES, world.WEATHERS), scene))


def floats(values):
    return np.ascontiguousarray(values, np.float32)


class Engine:
    """One model at one precision; one stream at a time."""

    def __init__(self, folder, build, precision="default", threads=2, lib=None):
        with open(os.path.join(folder, "config.json")) as f:
            self.config = json.load(f)
        self.w, self.h = self.config["width"], self.config["height"]
        self.lib, self.encoder = lib or library(build), load_encoder(folder)
        self.e = self.lib.zt_eval_open(folder.encode(), precision.encode(), threads)
        if not self.e:
            raise RuntimeError("the engine does not open " + folder)

    def close(self):
        self.lib.zt_eval_close(self.e)
        self.e = None

    def check(self, err):
        if err < 0:
            raise RuntimeError("the engine says " + os.strerror(-err))

    def begin(self, seed, scene=None):
        self.check(self.lib.zt_eval_reset(self.e, seed))
        if scene is not None:
            self.prompt(scene)

    def prompt(self, scene):
        self.check(self.lib.zt_eval_prompt(self.e, words(scene).encode()))

    def control(self, values):
        self.lib.zt_eval_controls(self.e, floats(values).ctypes.data)

    def place(self, seed, camera):
        """The next frame sees world `seed` from a camera of world.see(); those after it fly on from there."""
        self.lib.zt_eval_place(self.e, seed, floats(camera).ctypes.data)

    def made(self, call, *args):
        rgb = np.empty((self.h, self.w, 3), np.uint8)
        self.check(call(self.e, *args, rgb.ctypes.data))
        return rgb

    def next(self, steps):
        """The next frame, uint8 [h, w, 3]."""
        return self.made(self.lib.zt_eval_next, steps)

    def attempt(self, steps, seed, camera):
        """The next frame as seen from there; the stream stays as it was."""
        return self.made(self.lib.zt_eval_try, steps, seed, floats(camera).ctypes.data)

    def take(self, z):
        """A given frame's latents [16, h / 8, w / 8] -> picture."""
        return self.made(self.lib.zt_eval_force, floats(z).ctypes.data)

    @torch.no_grad()
    def encode(self, rgb):
        """uint8 [F, h, w, 3] -> latents [F, 16, h / 8, w / 8]."""
        x = to_unit(torch.from_numpy(np.ascontiguousarray(rgb))).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            return self.encoder(x).float().numpy()

    def autoencoded(self, rgb):
        self.begin(0)
        return np.stack([self.take(z) for z in self.encode(rgb)])

    def fly(self, seed, controls, scenes, steps=None):
        """A stream from nothing over the ground of world `seed`, from where its replay() starts: frame after frame."""
        camera = world.see(seed, controls[:1], scenes[:1])[4][0]
        self.begin(seed, scenes[0])
        self.place(seed, camera)
        for f, (control, scene) in enumerate(zip(controls, scenes)):
            if f and tuple(scene) != tuple(scenes[f - 1]):
                self.prompt(scene)
            self.control(control)
            yield self.next(self.config["first_frame_steps"] if f == 0 else steps or self.config["steps"])

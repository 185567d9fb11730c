# SPDX-License-Identifier: Apache-2.0
"""Stage "latents": the first encoded clips; the training stages make the others as they go."""
import data
from ae import Encoder

CLIPS = {"small": 2400, "full": 1800}
FRAMES = 16
FIRST_SEED = {"small": 10 ** 8, "full": 2 * 10 ** 8}
SEEN = {"long": (200, 96, 4 * 10 ** 8), "straight": (60, 96, 6 * 10 ** 8, data.steady),
        "wide": (8000, 4, 5 * 10 ** 8)}                                                    # clips, frames, first seed, script
START = {"small": 160, "full": 48}


def encoder_of(run):
    """The trained encoder, frozen."""
    encoder = Encoder()
    encoder.load_state_dict(run.load("ae")["encoder"])
    return encoder.eval().requires_grad_(False)


def latents_of(run, name):
    return data.Latents(run.path("latents-" + name), data.SMALL if name == "small" else data.FULL, CLIPS[name], FRAMES)


def follow_stores(run):
    """Clips with the ground that they show: long ones, then short ones of many worlds."""
    return [data.Seen(run.path("seen-" + name), *shape) for name, shape in SEEN.items()]


def train(run):
    encoder = encoder_of(run)
    for name in ("small", "full"):
        store = latents_of(run, name)
        while store.done < START[name]:
            if run.out_of_time():
                return
            store.extend(encoder, FIRST_SEED[name])
        run.log(set=name, clips=store.done)
    run.finish()

# SPDX-License-Identifier: Apache-2.0
"""The autoencoder: pictures to 16 channels at an eighth of the size, and back (doc/formats.md, "Decoder tensors")."""
import torch
import torch.nn as nn
import torch.nn.functional as F

LATENT = 16


def conv(cin, cout, stride=1):
    return nn.Conv2d(cin, cout, 3, stride, 1)


class Residual(nn.Module):
    """x + conv2(relu(conv1(x))), the encoder's block."""

    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2 = conv(width, width), conv(width, width)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Encoder(nn.Module):
    """One picture [N, 3, 8h, 8w] in [-1, 1] -> latent [N, 16, h, w] of unit variance. Sees one frame only."""

    def __init__(self, widths=(64, 112)):
        super().__init__()
        a, b = widths
        self.inp = conv(48, a)
        self.res0, self.res1 = Residual(a), Residual(a)
        self.down = conv(a, b, 2)
        self.res2, self.res3 = Residual(b), Residual(b)
        self.out = conv(b, LATENT)
        self.skip = nn.Conv2d(3, LATENT, 8, 8, bias=False)                                  # mean colours, from the first step on
        self.skip.weight.data.zero_()
        for channel, colour in ((-1, (-0.5, 1.0, -0.5)), (-2, (1.0, 0.0, -1.0)), (-3, (0.6, 0.6, 0.6))):
            self.skip.weight.data[channel] = torch.tensor(colour)[:, None, None] * (3.0 / 64)
        for m in (self.res0, self.res1, self.res2, self.res3):
            m.conv2.weight.data.mul_(0.3)
        self.register_buffer("mean", torch.zeros(LATENT))
        self.register_buffer("std", torch.ones(LATENT))

    def forward(self, rgb):
        low = self.skip(rgb)
        x = self.inp(F.pixel_unshuffle(rgb, 4))
        x = self.down(F.relu(self.res1(self.res0(x))))
        x = self.out(F.relu(self.res3(self.res2(x))))
        return (x.float() + low.float() - self.mean[:, None, None]) / self.std[:, None, None]


class Memory(nn.Module):
    """relu(x + conv3(relu(conv2(relu(conv1([x, prev]))))); prev = x of the frame before, zeros at the start."""

    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = conv(2 * width, width), conv(width, width), conv(width, width)

    def forward(self, x, prev):
        y = F.relu(self.conv1(torch.cat([x, prev], 1)))
        return F.relu(x + self.conv3(F.relu(self.conv2(y))))


def before(x, clips, first=None):
    """[clips * frames, ...] -> the same, one frame later inside each clip; `first` [clips, ...] or zeros leads."""
    y = x.unflatten(0, (clips, -1))
    lead = torch.zeros_like(y[:, :1]) if first is None else first[:, None].to(y.dtype)
    return torch.cat([lead, y[:, :-1]], 1).flatten(0, 1)


class Decoder(nn.Module):
    """Latents [clips * frames, 16, h, w] -> pictures [clips * frames, 3, 8h, 8w]."""

    def __init__(self, channels=(64, 48, 32)):
        super().__init__()
        c0, c1, c2 = channels
        setattr(self, "in", conv(LATENT, c0))
        self.mem0, self.up1 = Memory(c0), conv(c0, c1)
        self.mem1, self.up2 = Memory(c1), conv(c1, c2)
        self.res2 = nn.Module()
        self.res2.conv1, self.res2.conv2 = conv(c2, c2), conv(c2, c2)
        self.out = conv(c2, 12)

    def forward(self, z, clips=None, state=None):
        """With a `state` dictionary ({} at the start) frames may come in pieces of one clip each."""
        clips = clips or 1
        x = F.relu(getattr(self, "in")(3 * torch.tanh(z / 3)))
        x = self.remember(self.mem0, "mem0", x, clips, state)
        x = F.relu(self.up1(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        x = self.remember(self.mem1, "mem1", x, clips, state)
        x = F.relu(self.up2(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        x = F.relu(x + self.res2.conv2(F.relu(self.res2.conv1(x))))
        return F.pixel_shuffle(self.out(x), 2)

    @staticmethod
    def remember(block, name, x, clips, state):
        first = None if state is None else state.get(name)
        if state is not None:
            state[name] = x.unflatten(0, (clips, -1))[:, -1]
        return block(x, before(x, clips, first))


def gradient(x):
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def picture_loss(y, x):
    """L1, L1 of the colour differences, and L1 of the gradients at full, half and quarter size."""
    d = y - x
    loss = d.abs().mean() + 2 * (d - d.mean(1, keepdim=True)).abs().mean()
    for weight in (1.0, 1.0, 0.5):
        loss = loss + weight * sum((a - b).abs().mean() for a, b in zip(gradient(y), gradient(x)))
        y, x = F.avg_pool2d(y, 2), F.avg_pool2d(x, 2)
    d = y - x
    return loss + 0.5 * d.abs().mean() + (d - d.mean(1, keepdim=True)).abs().mean()


def unit_loss(z):
    """Keeps each channel of a batch of latents near mean 0 and deviation 1."""
    z = z.transpose(0, 1).flatten(1)
    return z.mean(1).pow(2).mean() + (z.std(1) - 1).pow(2).mean()


def to_unit(rgb):
    """uint8 [..., H, W, 3] -> float [..., 3, H, W] in [-1, 1]."""
    return rgb.movedim(-1, -3).float() / 127.5 - 1


def to_bytes(x):
    """[..., 3, H, W] in [-1, 1] -> uint8 [..., H, W, 3]."""
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(-3, -1)


def psnr(y, x):
    """Mean PSNR in dB over the pictures of two [N, 3, H, W] tensors in [-1, 1]."""
    mse = ((y.float().clamp(-1, 1) - x.float()) / 2).pow(2).flatten(1).mean(1)
    return (-10 * torch.log10(mse + 1e-10)).mean().item()

# SPDX-License-Identifier: Apache-2.0
"""The critic of stage "follow": tells latents of renders from the model's own, by the picture and by the movement over three frames."""
import torch
import torch.nn as nn
import torch.nn.functional as F

WIDTHS = (48, 96, 160)
NOISE = 0.1             # added to all that it sees: the decoder was trained not to show errors of this size
FLATNESS, NUDGE, NUDGED = 80.0, 0.1, 4        # the penalty is asked for every fourth time only


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)
        self.conv2.weight.data.mul_(0.3)

    def forward(self, x):
        return x + self.conv2(F.leaky_relu(self.conv1(F.leaky_relu(x, 0.2)), 0.2))


class Tower(nn.Module):
    """[N, cin, h, w] and a condition [N, c] -> scores of patches, fine and coarse ones, [N, patches]."""

    def __init__(self, cin, condition):
        super().__init__()
        a, b, c = WIDTHS
        self.inp = nn.Conv2d(cin + 2, a, 3, 1, 1)
        self.res0, self.res1, self.res2 = Residual(a), Residual(b), Residual(c)
        self.down1, self.down2 = nn.Conv2d(a, b, 3, 2, 1), nn.Conv2d(b, c, 3, 2, 1)
        self.fine, self.coarse = nn.Conv2d(b, 1, 1), nn.Conv2d(c, 1, 1)
        self.match1, self.match2 = nn.Linear(condition, b), nn.Linear(condition, c)

    @staticmethod
    def score(x, out, match):
        return (out(x)[:, 0] + (x * match[:, :, None, None]).sum(1) * x.shape[1] ** -0.5).flatten(1)

    def forward(self, x, condition):
        n, _, h, w = x.shape
        place = torch.stack(torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij"))
        x = torch.cat([x, place.expand(n, -1, -1, -1)], 1).contiguous(memory_format=torch.channels_last)
        x = self.down1(F.leaky_relu(self.res0(self.inp(x)), 0.2))
        x = F.leaky_relu(self.res1(x), 0.2)
        y = F.leaky_relu(self.res2(self.down2(x)), 0.2)
        return torch.cat([self.score(x, self.fine, self.match1(condition)), self.score(y, self.coarse, self.match2(condition))], 1)


class Critic(nn.Module):
    def __init__(self, tokens=24, controls=4, width=96):
        super().__init__()
        self.words, self.controls = nn.Embedding(tokens, width), nn.Linear(controls, width)
        self.picture, self.motion = Tower(16, width), Tower(48, width)

    def forward(self, z, control, ids):
        """z [N, 3, 16, h, w], the last frame's control [N, 4] and ids [N, L] (-1 for none) -> scores [N, patches] of each tower."""
        words = (self.words(ids.clamp(min=0)) * (ids >= 0).float()[..., None]).sum(1)
        z = z + NOISE * torch.randn_like(z)
        with torch.autocast("cpu", torch.bfloat16):
            return self.picture(z[:, 2], words).float(), self.motion(z.flatten(1, 2), words + self.controls(control)).float()


def critic_loss(critic, real, made, nudged):
    """Logistic loss of (z, control, ids) tuples, if `nudged` with a penalty on how much a nudge changes the scores."""
    n = len(real[0])
    z, control, ids = (torch.cat(pair) for pair in zip(real, made))
    seen = critic(z, control, ids)
    loss = sum(F.softplus(-a[:n]).mean() + F.softplus(a[n:]).mean() for a in seen)
    near = critic(z + NUDGE * torch.randn_like(z), control, ids) if nudged else seen
    flat = sum((a - b).pow(2).mean() for a, b in zip(seen, near))
    (loss + FLATNESS * flat).backward()
    return loss.item() / 4, [a[:n].mean().item() - a[n:].mean().item() for a in seen]


def push(critic, z, control, ids):
    """Gradient of the generator's loss with respect to the last frame [N, 16, h, w]."""
    last = z[:, 2].detach().requires_grad_(True)
    picture, movement = critic(torch.cat([z[:, :2].detach(), last[:, None]], 1), control, ids)
    loss = F.softplus(-picture).mean(1).sum() + F.softplus(-movement).mean(1).sum()
    return torch.autograd.grad(loss, last)[0]

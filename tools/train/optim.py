# SPDX-License-Identifier: Apache-2.0
"""Muon for the blocks' matrices and AdamW for the rest, and the moving average of the weights."""
import torch


def orthogonal(g, steps=5):
    """Newton-Schulz iteration: [N, a, b] -> about the nearest matrices with equal singular values."""
    x = g.bfloat16()
    wide = x.shape[-2] > x.shape[-1]
    x = x.transpose(-1, -2) if wide else x
    x = x / (x.float().pow(2).sum((-1, -2), keepdim=True).sqrt() + 1e-7).bfloat16()
    for _ in range(steps):
        a = x @ x.transpose(-1, -2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.transpose(-1, -2) if wide else x).float()


class Muon:
    """Momentum, then orthogonalised updates; matrices of one shape go through in one batch."""

    def __init__(self, params, lr=0.02, momentum=0.95, decay=0.01):
        self.params, self.lr, self.momentum, self.decay = list(params), lr, momentum, decay
        self.buffers = [torch.zeros_like(p) for p in self.params]
        self.groups = {}
        for i, p in enumerate(self.params):
            self.groups.setdefault(tuple(p.shape[-2:]), []).append(i)

    @torch.no_grad()
    def step(self):
        for shape, members in self.groups.items():
            updates = []
            for i in members:
                g, m = self.params[i].grad, self.buffers[i]
                g = torch.zeros_like(m) if g is None else g
                m.lerp_(g, 1 - self.momentum)
                updates.append(g.lerp(m, self.momentum).reshape(-1, *shape))
            sizes = [len(u) for u in updates]
            flat = orthogonal(torch.cat(updates)) * max(1, shape[0] / shape[1]) ** 0.5
            for i, u in zip(members, flat.split(sizes)):
                p = self.params[i]
                p.mul_(1 - self.lr * self.decay).add_(u.view_as(p), alpha=-self.lr)

    def state_dict(self):
        return {"buffers": self.buffers}

    def load_state_dict(self, state):
        for a, b in zip(self.buffers, state["buffers"]):
            a.copy_(b)


class Optimiser:
    """Both together; `scale` is the schedule's factor."""

    def __init__(self, model, matrices=0.02, rest=1e-3):
        big = {id(p) for b in model.blocks for p in b.parameters() if p.dim() >= 2 and min(p.shape[-2:]) > 16}
        every = list(model.parameters())
        self.rates = matrices, rest
        self.params = every
        self.muon = Muon([p for p in every if id(p) in big])
        place = model.position_embedding.weight                                            # begins at zero: learns faster
        others = [p for p in every if id(p) not in big and p is not place]
        self.adam = torch.optim.AdamW([{"params": others, "times": 1}, {"params": [place], "times": 5}], lr=rest, betas=(0.9, 0.98),
                                      weight_decay=0.0)

    def step(self, scale):
        torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        self.muon.lr = self.rates[0] * scale
        for g in self.adam.param_groups:
            g["lr"] = self.rates[1] * scale * g["times"]
        self.muon.step()
        self.adam.step()
        for p in self.params:
            p.grad = None

    def state_dict(self):
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state):
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


@torch.no_grad()
def average(ema, model, step, decay=0.995):
    """ema <- decay * ema + (1 - decay) * model, faster at the start; buffers are copied."""
    d = min(decay, (1 + step) / (10 + step))
    for a, b in zip(ema.parameters(), model.parameters()):
        a.lerp_(b, 1 - d)
    for a, b in zip(ema.buffers(), model.buffers()):
        a.copy_(b)

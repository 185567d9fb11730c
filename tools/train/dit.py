# SPDX-License-Identifier: Apache-2.0
"""The video transformer of doc/formats.md, laid out for training.

A batch is [B clips, F frames, C copies, T tokens, d]. Copy 0 of a frame is its context version (clean or nearly so), which
later frames may attend to; the other copies are noisy targets, each seeing its own tokens and the context copies of the frames
before it inside the window. So one context pass serves several noise levels.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

CONFIG = {
    "dim": 192, "num_heads": 3, "num_layers": 6, "eps": 1e-6, "freq_dim": 256, "in_dim": 130, "out_dim": 16,
    "previous_frames": 2, "previous_shifts": True, "residual": True, "warp": True, "position_embedding": True, "n_routed_experts": 8, "n_activated_experts": 2, "n_shared_experts": 1, "moe_inter_dim": 160,
    "n_controls": 4, "text_dim": 128, "n_tokens": 24, "rope_grid": [9, 16], "window_frames": 8,
    "ground": {"code": 19, "shape": 128, "hidden": 192, "features": 64, "depths": 72},
}


def sinusoid(t, width):
    """[...] -> [..., width]: cos first, then sin, of t * 10000^(-i / half)."""
    half = width // 2
    a = t.double()[..., None] * torch.pow(10000.0, -torch.arange(half, dtype=torch.float64, device=t.device) / half)
    return torch.cat([a.cos(), a.sin()], -1).float()


def rope_table(first, frames, rows, cols, grid, head_dim):
    """cos and sin [frames, rows * cols, 1, head_dim / 2] of the pairs: time, then row, then column."""
    n = head_dim // 6
    nt = head_dim // 2 - 2 * n
    freq = lambda k: torch.pow(10000.0, -torch.arange(k, dtype=torch.float64) / k)
    f = torch.arange(first, first + frames, dtype=torch.float64)[:, None, None, None] * freq(nt)
    r = (torch.arange(rows, dtype=torch.float64) * (grid[0] / rows))[None, :, None, None] * freq(n)
    c = (torch.arange(cols, dtype=torch.float64) * (grid[1] / cols))[None, None, :, None] * freq(n)
    shape = (frames, rows, cols, -1)
    a = torch.cat([f.expand(shape), r.expand(shape), c.expand(shape)], -1).reshape(frames, rows * cols, 1, -1)
    return a.cos().float(), a.sin().float()


def rms(x, weight, eps):
    x = x.float()
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def rotate(x, cos, sin):
    """Interleaved pairs of x [..., T, H, hd] turned by the table."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def compute_type():
    """The type of products: bf16 under autocast."""
    return torch.bfloat16 if torch.is_autocast_cpu_enabled() or torch.is_autocast_enabled() else torch.float32


def norm_rotate(x, weight, eps, cos, sin, heads: int, dtype):
    """Query or key [..., T, d] -> [..., T, H, hd]: normalised over the full width, then rotated."""
    return rotate(rms(x, weight, eps).unflatten(-1, (heads, -1)), cos, sin).to(dtype)


def modulate(x, scale, shift, eps, dtype):
    x = x.float()
    m = x.mean(-1, keepdim=True)
    v = (x - m).pow(2).mean(-1, keepdim=True)
    return ((x - m) * torch.rsqrt(v + eps) * (1 + scale) + shift).to(dtype)


def add_gated(x, y, gate):
    return x + y.float() * gate


def swiglu(a, b):
    return F.silu(a) * b


def shifts(z):
    """Latents [..., 16, h, w] -> [..., 64, h, w]: moved by one pixel, copy (a, b) at (y, x) is z at (y + a, x + b), 0 outside."""
    wide = F.pad(z, (1, 1, 1, 1))
    h, w = z.shape[-2:]
    return torch.cat([wide[..., 1 + a:1 + a + h, 1 + b:1 + b + w] for a in (-1, 1) for b in (-1, 1)], -3)


def warped(z, move):
    """Latents [N, c, h, w] moved: the copy at (y, x) is z at (y + move[1], x + move[0]), bicubic (a = -0.75), edges repeated. move [N, 2, h, w]."""
    h, w = z.shape[-2:]
    y, x = torch.meshgrid(torch.arange(h, dtype=torch.float32), torch.arange(w, dtype=torch.float32), indexing="ij")
    at = torch.stack([(x + move[:, 0]) * (2 / (w - 1)) - 1, (y + move[:, 1]) * (2 / (h - 1)) - 1], -1)
    return F.grid_sample(z, at, mode="bicubic", padding_mode="border", align_corners=True)


def compile_pieces():
    """Fuses the element-wise formulas above where this PyTorch can (2.x with a C++ compiler); about a sixth faster."""
    if hasattr(torch, "compile") and not hasattr(swiglu, "_torchdynamo_orig_callable"):
        for f in (norm_rotate, modulate, add_gated, swiglu):
            globals()[f.__name__] = torch.compile(f, dynamic=True if f is swiglu else None)


REACH = 5.0     # the head learns movement in units of this many latent pixels, so that it learns it faster; files hold pixels
ROOM = 64       # experts' rows are padded to multiples: few shapes, so that the matrix library makes each kernel once


def padded_order(slot, counts):
    """Rows sorted by expert, each expert's padded: source row of each place (len(slot) where there is none), place of each row, rooms."""
    n = len(slot)
    order = torch.argsort(slot, stable=True)
    rooms = (counts + ROOM - 1).div(ROOM, rounding_mode="floor") * ROOM
    gap = (rooms.cumsum(0) - rooms) - (counts.cumsum(0) - counts)
    place = torch.arange(n, device=slot.device) + gap[slot[order]]
    rooms = rooms.tolist()
    perm = torch.full((sum(rooms),), n, device=slot.device)
    perm[place] = order
    inverse = torch.empty_like(order)
    inverse[order] = place
    return perm, inverse, rooms


def spread(x, perm):
    return torch.cat([x, x.new_zeros(1, x.shape[1])]).index_select(0, perm)


class Spread(torch.autograd.Function):
    """Rows to their places, zeros between; nothing is scattered in either direction."""

    @staticmethod
    def forward(ctx, x, perm, inverse):
        ctx.save_for_backward(inverse)
        return spread(x, perm)

    @staticmethod
    def backward(ctx, g):
        return g.index_select(0, ctx.saved_tensors[0]), None, None


class Collect(torch.autograd.Function):
    """The way back."""

    @staticmethod
    def forward(ctx, x, perm, inverse):
        ctx.save_for_backward(perm)
        return x.index_select(0, inverse)

    @staticmethod
    def backward(ctx, g):
        return spread(g, ctx.saved_tensors[0]), None, None


class SelfAttention(nn.Module):
    def __init__(self, d, heads, eps):
        super().__init__()
        self.heads, self.eps = heads, eps
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.norm_q, self.norm_k = Weight(d), Weight(d)

    def forward(self, y, rope, window, cache=None):
        """y [B, F, C, T, d]; with a `cache` (sampling.Cache) of committed frames F and C are 1."""
        q = norm_rotate(self.q(y), self.norm_q.weight, self.eps, *rope, self.heads, compute_type())
        k = norm_rotate(self.k(y), self.norm_k.weight, self.eps, *rope, self.heads, compute_type())
        v = self.v(y).unflatten(-1, (self.heads, -1))
        return self.o(attend(q, k, v, window) if cache is None else cache.attend(q, k, v, window))


def attend(q, k, v, window):
    """q, k, v [B, F, C, T, H, hd]: each copy sees itself and copy 0 of the window - 1 frames before."""
    B, frames, C, T, H, hd = q.shape
    q, k, v = (u.permute(0, 1, 4, 2, 3, 5).unbind(1) for u in (q * hd ** -0.5, k, v))     # per frame [B, H, C, T, hd]
    out = []
    for f in range(frames):
        past = range(max(0, f - window + 1), f)
        own = q[f] @ k[f].transpose(-1, -2)                                                # [B, H, C, T, T]
        if not past:
            out.append(torch.softmax(own, -1) @ v[f])
            continue
        kp, vp = (torch.cat([u[p][:, :, 0] for p in past], 2) for u in (k, v))             # [B, H, n T, hd]
        far = (q[f].flatten(2, 3) @ kp.transpose(-1, -2)).unflatten(2, (C, T))
        p = torch.softmax(torch.cat([own, far], -1), -1)
        near = p[..., :T] @ v[f]
        out.append(near + (p[..., T:].flatten(2, 3) @ vp).unflatten(2, (C, T)))
    return torch.stack(out, 1).permute(0, 1, 3, 4, 2, 5).flatten(-2)


class Weight(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))


class CrossAttention(nn.Module):
    """Queries of the picture, keys and values of the prompt's rows; no rotation."""

    def __init__(self, d, heads, eps):
        super().__init__()
        self.heads, self.eps = heads, eps
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.norm_q, self.norm_k = Weight(d), Weight(d)

    def forward(self, z, text, missing):
        """z [N, T', d], text [N, L, d], missing [N, L] is true for rows that are not there."""
        q = rms(self.q(z), self.norm_q.weight, self.eps).to(compute_type()).unflatten(-1, (self.heads, -1))
        k = rms(self.k(text), self.norm_k.weight, self.eps).to(compute_type()).unflatten(-1, (self.heads, -1))
        v = self.v(text).unflatten(-1, (self.heads, -1))
        q, k, v = (u.transpose(1, 2) for u in (q, k, v))
        s = (q @ k.transpose(-1, -2)) * (k.shape[-1] ** -0.5)
        s = s.masked_fill(missing[:, None, None, :], -30000.0)
        return self.o((torch.softmax(s, -1) @ v).transpose(1, 2).flatten(-2))


class Gate(nn.Module):
    def __init__(self, d, experts):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(experts, d) * d ** -0.5)
        self.register_buffer("bias", torch.zeros(experts))


class Experts(nn.Module):
    """Top-k SwiGLU experts plus a shared one. Stacked tensors; `export.py` splits them into experts.M.w1 and so on."""

    def __init__(self, d, n, inter, shared, top_k):
        super().__init__()
        self.n, self.top_k = n, top_k
        self.gate = Gate(d, n)
        init = lambda *s: nn.Parameter((torch.rand(*s) * 2 - 1) * s[-1] ** -0.5)
        self.w1, self.w3, self.w2 = init(n, inter, d), init(n, inter, d), init(n, d, inter)
        self.s1, self.s3, self.s2 = init(shared * inter, d), init(shared * inter, d), init(d, shared * inter)
        self.register_buffer("load", torch.zeros(n))
        self.register_buffer("last", torch.ones(n))

    def forward(self, x, top_k):
        shape, x = x.shape, x.flatten(0, -2)
        with torch.autocast(x.device.type, enabled=False):
            s = torch.sigmoid(x.float() @ self.gate.weight.t())
        chosen = (s.detach() + self.gate.bias).topk(top_k, -1).indices
        g = s.gather(-1, chosen)
        g = g / g.sum(-1, keepdim=True)
        slot = chosen.flatten()
        counts = torch.bincount(slot, minlength=self.n)
        if self.training:
            self.load += counts / len(slot)
        perm, inverse, rooms = padded_order(slot, counts)
        many = x[:, None].expand(-1, top_k, -1).flatten(0, 1)
        rows = Spread.apply(many, perm, inverse).split(rooms)
        out = [F.linear(swiglu(F.linear(r, a), F.linear(r, b)), c)
               for r, a, b, c in zip(rows, self.w1.unbind(), self.w3.unbind(), self.w2.unbind())]
        out = Collect.apply(torch.cat(out), perm, inverse).unflatten(0, (-1, top_k))
        y = F.linear(swiglu(F.linear(x, self.s1), F.linear(x, self.s3)), self.s2)
        return (y + (out * g[..., None].to(out.dtype)).sum(1)).view(shape)

    @torch.no_grad()
    def balance(self, rate):
        """Moves the selection bias against the load seen since the last call."""
        if self.load.sum() > 0:
            self.gate.bias += rate * torch.sign(self.load.mean() - self.load)
            self.last.copy_(self.load)
            self.load.zero_()


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, eps = c["dim"], c["eps"]
        self.eps = eps
        self.modulation = nn.Parameter(torch.randn(1, 6, d) / math.sqrt(d))
        self.self_attn = SelfAttention(d, c["num_heads"], eps)
        self.norm3 = nn.LayerNorm(d, eps)
        self.cross_attn = CrossAttention(d, c["num_heads"], eps)
        self.ffn = Experts(d, c["n_routed_experts"], c["moe_inter_dim"], c["n_shared_experts"], c["n_activated_experts"])

    def forward(self, x, e0, rope, text, missing, window, top_k, cache=None):
        m = (self.modulation + e0).unsqueeze(-2).unbind(-3)                                # six of [B, F, C, 1, d]
        x = add_gated(x, self.self_attn(modulate(x, m[1], m[0], self.eps, compute_type()), rope, window, cache), m[2])
        z = self.norm3(x).flatten(0, 1).flatten(1, 2)
        x = x + self.cross_attn(z, text, missing).view(x.shape)
        return add_gated(x, self.ffn(modulate(x, m[4], m[3], self.eps, compute_type()), top_k), m[5])


class Head(nn.Module):
    def __init__(self, d, out, eps):
        super().__init__()
        self.eps = eps
        self.modulation = nn.Parameter(torch.randn(1, 2, d) / math.sqrt(d))
        self.head = nn.Linear(d, out)

    def forward(self, x, e):
        m = (self.modulation + e.unsqueeze(-2)).unsqueeze(-2).unbind(-3)
        return self.head(modulate(x, m[1], m[0], self.eps, compute_type()))


def two_layers(cin, d, act):
    return nn.Sequential(nn.Linear(cin, d), act, nn.Linear(d, d))


class Words(nn.Module):
    """Prompt tokens -> text rows: row_i = E_i + silu(mix(mean_j E_j)); row 0 is token 0."""

    def __init__(self, tokens, width):
        super().__init__()
        self.embedding = Weight(width)
        self.embedding.weight = nn.Parameter(torch.randn(tokens, width))
        self.mix = nn.Linear(width, width)

    def forward(self, ids):
        """ids [N, L] with -1 for no token -> rows [N, L, width], missing [N, L]."""
        missing = ids < 0
        rows = F.embedding(ids.clamp(min=0), self.embedding.weight)
        here = (~missing).float()[..., None]
        mean = (rows * here).sum(1, keepdim=True) / here.sum(1, keepdim=True)
        return rows + F.silu(self.mix(mean)), missing


def pooled(text, missing):
    """The mean [N, d] of a prompt's rows [N, L, d]."""
    here = (~missing).to(text.dtype)[..., None]
    return (text * here).sum(1) / here.sum(1)


TALL, ROW = 20.0, 0.7 * 2 / 32                                      # a height's unit in cells; slope from a ray to the one above


def depths(n):
    """Of a column's n samples, cells."""
    return 4 * 1.125 ** (torch.arange(n, dtype=torch.float64) * (36 / n))


class Ground(nn.Module):
    """Sees the ground through its noise (diffusion/ground.h): how high it is and what grows on it at every sample, then what every ray meets.

    What comes out of a ray is a mean over its samples, weighted by how likely it ends there; four rays make a token's vector, and this a first idea of the latents."""

    def __init__(self, d, c):
        super().__init__()
        code, wide, features = c["code"], c["hidden"], c["features"]
        self.code, self.mood = nn.Linear(d, code), nn.Linear(d, code)
        self.shape = nn.Sequential(nn.Linear(13 + code, c["shape"]), nn.SiLU(), nn.Linear(c["shape"], c["shape"]), nn.SiLU(), nn.Linear(c["shape"], 1))
        self.surface = nn.Sequential(nn.Linear(13 + 7 + code, wide), nn.SiLU(), nn.Linear(wide, wide), nn.SiLU(), nn.Linear(wide, features))
        self.look = nn.Sequential(nn.Linear(features + 7 + code, wide), nn.SiLU(), nn.Linear(wide, wide), nn.SiLU())
        self.token = nn.Linear(4 * wide, d)
        self.read = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 256), nn.SiLU(), nn.Linear(256, 64))
        self.sharp = nn.Parameter(torch.tensor(2.0))

    def high(self, noise, prompt):
        """Heights [N, 42, D] in units of TALL."""
        code = self.code(prompt).to(compute_type())
        return self.shape(torch.cat([noise.to(code.dtype), code[:, None, None].expand(*noise.shape[:3], -1)], -1))[..., 0].float()

    def forward(self, sight, prompt):
        """sight: noise [N, 42, D, 13], column [N, 18, 32], ray [N, 18, 32, 4], camera [N, 3] (y, cosine and sine of yaw - sun); prompt [N, d]
        -> [N, 144, d], and latents [N, 16, 18, 32]: the picture without anything before it"""
        noise, column, ray, camera = sight
        N, W, D, _ = noise.shape
        depth = depths(D).float().to(noise.device)
        kind = compute_type()
        mood = self.mood(prompt).to(kind)
        height = self.high(noise, prompt)
        u = ((torch.arange(W) - W // 2 + 0.5) * ROW)[:, None]
        cosine, sine = (camera[:, i, None, None].expand(N, W, D) for i in (1, 2))
        over = height * TALL - camera[:, 0, None, None]
        across = F.pad((height[:, 1:] - height[:, :-1]) * (TALL / (ROW * depth)), (0, 0, 0, 1))
        ahead = F.pad((height[:, :, 1:] - height[:, :, :-1]) * (TALL / (depth[1:] - depth[:-1])), (0, 1)) - u * across
        more = [over / TALL, ahead, across, ahead * cosine - across * sine, depth.log().expand(N, W, D) - 3, cosine, sine]
        near = torch.cat([noise.to(kind), mood[:, None, None].expand(N, W, D, -1), torch.stack(more, -1).to(kind)], -1)
        at, slope = column.flatten(1), ray[..., 0].flatten(1)                              # [N, 576]
        rise = torch.gather(over / depth, 1, at[..., None].expand(-1, -1, D)) - slope[..., None]
        hit = torch.sigmoid(self.sharp.exp() / ROW * rise)
        free = torch.cumprod(torch.cat([torch.ones_like(hit[..., :1]), 1 - hit], -1), -1)  # [N, 576, D + 1]
        weight = hit * free[..., :-1]
        far = (weight * (depth.log() - 3)).sum(-1)
        place = at[..., None] * D + torch.arange(D)
        if self.training:                                                                  # the largest few are nearly all
            weight, best = weight.topk(8, -1)
            place = torch.gather(place, -1, best)
            place = torch.where(weight > 1e-3, place, place[..., :1])
        place = place + W * D * torch.arange(N)[:, None, None]
        some, back = torch.unique(place, return_inverse=True)                              # a third of the samples end no ray
        seen = self.surface(near.flatten(0, 2).index_select(0, some)).index_select(0, back.flatten()).unflatten(0, back.shape)
        mean = (weight.to(kind)[..., None, :] @ seen)[..., 0, :]                           # [N, 576, features]
        more = torch.stack([far, free[..., -1], slope, *(ray[..., i].flatten(1) for i in (1, 2, 3)), slope.clamp(min=0).sqrt()], -1)
        out = self.look(torch.cat([mean, more.to(kind), mood[:, None].expand(-1, at.shape[1], -1)], -1))
        out = out.unflatten(1, (9, 2, 16, 2)).permute(0, 1, 3, 2, 4, 5).flatten(1, 2).flatten(2)
        tokens = self.token(out)                                                           # [N, 144, d]
        z = self.read(tokens.float()).float().unflatten(1, (9, 16)).unflatten(3, (2, 2, 16))
        return tokens, z.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


class Flyover(nn.Module):
    def __init__(self, config=CONFIG):
        super().__init__()
        c = self.config = dict(config)
        d = c["dim"]
        self.patch_embedding = nn.Conv3d(c["in_dim"], d, (1, 2, 2), (1, 2, 2))
        self.position_embedding = Weight(d)
        self.position_embedding.weight = nn.Parameter(torch.zeros(c["rope_grid"][0] * c["rope_grid"][1], d))
        self.time_embedding = two_layers(c["freq_dim"], d, nn.SiLU())
        self.step_embedding = two_layers(c["freq_dim"], d, nn.SiLU())
        self.control_embedding = two_layers(c["n_controls"], d, nn.SiLU())
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(d, 6 * d))
        self.words = Words(c["n_tokens"], c["text_dim"])
        self.text_embedding = two_layers(c["text_dim"], d, nn.GELU(approximate="tanh"))
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["num_layers"]))
        self.head = Head(d, 4 * (c["out_dim"] + (2 if c.get("warp") else 0) + (1 if c.get("ground") else 0)), c["eps"])
        self.moved, self.reach = None, REACH
        if c.get("ground"):
            self.ground = Ground(d, c["ground"])
        if c.get("ground"):
            nn.init.zeros_(self.patch_embedding.weight[:, -c["out_dim"]:])
        nn.init.zeros_(self.head.head.weight)
        nn.init.zeros_(self.head.head.bias)
        for b in self.blocks:
            for m in (b.self_attn.o, b.cross_attn.o):
                m.weight.data.mul_(0.5)
        self.tables = {}

    def rope(self, frames, rows, cols, device, first=0):
        """Tables of `frames` frames from `first` on (only differences matter)."""
        key = (first, frames, rows, cols)
        if key not in self.tables:
            self.tables.clear()
            hd = self.config["dim"] // self.config["num_heads"]
            self.tables[key] = [u.to(device) for u in rope_table(first, frames, rows, cols, self.config["rope_grid"], hd)]
        return [u[:, None] for u in self.tables[key]]                                      # [F, 1, T, 1, hd / 2]

    def places(self, rows, cols):
        """The learnt vectors of the tokens' places [rows * cols, d], taken from the native grid."""
        r, c = (torch.arange(n) * g // n for n, g in zip((rows, cols), self.config["rope_grid"]))
        return self.position_embedding.weight[(r[:, None] * self.config["rope_grid"][1] + c).flatten()]

    def prompt(self, ids):
        """What Ground knows of prompts: ids [N, L] -> [N, d]."""
        text, missing = self.words(ids)
        return pooled(self.text_embedding(text), missing)

    def see(self, sight, ids):
        """What frames are told of the ground that they see: [N, T, d], latents [N, 16, h, w]; sight as Ground takes it, ids [N, L]."""
        return self.ground(sight, self.prompt(ids))

    def embed(self, x, previous, place):
        """Noisy latents [B, F, C, 16, h, w] and previous ones [B, F, C, 2, 16, h, w] (NaN where missing) -> tokens."""
        gone = torch.isnan(previous[..., :1, :, :])                                        # [B, F, C, 2, 1, h, w]
        previous = torch.nan_to_num(previous)
        z = torch.cat([x, previous.flatten(3, 4), gone.float().flatten(3, 4), shifts(previous[:, :, :, 0])] + ([] if place is None else [place]), 3)
        z = z.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2))                                # [..., in, r, 2, c, 2]
        z = z.movedim(3, -1).transpose(4, 5)                                               # [..., r, c, 2, 2, in]
        z = z.flatten(-3).flatten(3, 4)                                                    # [B, F, C, T, 4 * in]
        weight = self.patch_embedding.weight.squeeze(2).permute(0, 2, 3, 1).flatten(1)
        return F.linear(z, weight, self.patch_embedding.bias)

    def forward(self, x, t, t_next, previous, control, ids, window=8, top_k=None, caches=None, frame=0, ground=None):
        """x [B, F, C, 16, h, w]; t, t_next [B, F, C] in 0..1; previous [B, F, C, 2, 16, h, w], NaN where missing;
        control [B, F, 4]; ids [B, F, L] token ids, -1 for none; `ground` what see() gives for B * F frames; `caches` (one per block) and `frame` for frame-by-frame sampling -> v like x."""
        c = self.config
        B, frames, C, _, h, w = x.shape
        rows, cols = h // 2, w // 2
        e = self.time_embedding(sinusoid(t * 1000, c["freq_dim"])) + self.step_embedding(sinusoid(t_next * 1000, c["freq_dim"]))
        e = (e + self.control_embedding(control)[:, :, None]).float()                      # [B, F, C, d]
        e0 = self.time_projection(e).float().unflatten(-1, (6, -1))
        text, missing = self.words(ids.flatten(0, 1))
        text = self.text_embedding(text)
        rope = self.rope(frames, rows, cols, x.device, frame)
        place = x.new_zeros(()) if c.get("ground") else None
        if ground is not None:
            place = ground[1].float().unflatten(0, (B, frames))[:, :, None]
        place = None if place is None else place.expand(x.shape)
        y = self.embed(x, previous, place).float() + self.places(rows, cols)
        if ground is not None:
            y = y + ground[0].float().unflatten(0, (B, frames))[:, :, None]
        for i, b in enumerate(self.blocks):
            y = b(y, e0, rope, text, missing, window, top_k or c["n_activated_experts"], caches and caches[i])
        v = self.head(y, e).float()                                                        # [B, F, C, T, (q r c)]
        v = v.unflatten(-1, (2, 2, -1)).unflatten(3, (rows, cols))                         # [.., r, c, q, r', ch]
        v = v.permute(0, 1, 2, 7, 3, 5, 4, 6).flatten(6, 7).flatten(4, 5)
        last = torch.nan_to_num(previous[:, :, :, 0])
        if c.get("warp"):
            v, move, *share = v.split([c["out_dim"], 2] + ([1] if c.get("ground") else []), 3)
            last = self.moved = warped(last.flatten(0, 2), self.reach * move.flatten(0, 2)).view_as(last)
        if c.get("ground"):
            share = torch.sigmoid(share[0]) * (1 - torch.isnan(previous[:, :, :, 0, :1]).float())
            last = share * last + (1 - share) * place
        if c.get("residual"):
            v = (x - last - v) / t.clamp(min=0.05)[..., None, None, None]
        return v


def sigmas(steps, shift=3.0):
    """The noise levels of a schedule, ending in 0."""
    u = [1 - i / steps for i in range(steps)]
    return [shift * a / (1 + (shift - 1) * a) for a in u] + [0.0]

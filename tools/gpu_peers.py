# SPDX-License-Identifier: Apache-2.0
"""What cuBLASLt and cuDNN do on this GPU at the shapes of `zoetrope-bench kernels --device cuda`: a JSON line each.

Through PyTorch, which gpu-check.sh uses where it is there. Times are medians of CUDA events around replays of one call,
inputs random and newly chosen, after a warm-up.
"""
import json
import statistics

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

ROWS, TIMES = 4680, 30
SHAPES = [(4608, 1536), (1536, 1536), (8960, 1536), (1536, 8960)]      # N, K


def median_ms(call):
    for _ in range(5):
        call()
    times = []
    for _ in range(TIMES):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def line(op, dtype, shape, operations, call, peer):
    try:
        ms = median_ms(call)
    except RuntimeError as e:           # this library does not do this on this GPU
        print(json.dumps({"op": op, "dtype": dtype, "shape": shape, "peer": peer, "error": str(e)[:100]}))
        return
    print(json.dumps({"op": op, "dtype": dtype, "shape": shape, "value": round(operations / ms / 1e6, 2), "unit": "GF/s",
                      "ms": round(ms, 4), "peer": peer}))


def products():
    for n, k in SHAPES:
        x = torch.randn(ROWS, k, device="cuda", dtype=torch.bfloat16)
        w = torch.randn(n, k, device="cuda", dtype=torch.bfloat16)
        shape, operations = f"M{ROWS} N{n} K{k}", 2.0 * ROWS * n * k
        line("linear", "bf16", shape, operations, lambda: x @ w.t(), "cublas")
        x8, w8 = x.to(torch.float8_e4m3fn), w.to(torch.float8_e4m3fn)
        sx = torch.ones(ROWS, 1, device="cuda")
        sw = torch.ones(1, n, device="cuda")
        line("linear", "fp8", shape, operations,
             lambda: torch._scaled_mm(x8, w8.t(), scale_a=sx, scale_b=sw, out_dtype=torch.bfloat16), "scaled_mm")
        xi, wi = x.mul(20).to(torch.int8), w.mul(20).to(torch.int8)
        line("linear", "w8a8", shape, operations, lambda: torch._int_mm(xi, wi.t()), "cublaslt")


def attention():
    q = torch.randn(1, 12, ROWS, 128, device="cuda", dtype=torch.bfloat16)
    for keys in (4680, 9360, 18720, 32760):
        k, v = torch.randn(2, 1, 12, keys, 128, device="cuda", dtype=torch.bfloat16)
        shape, operations = f"q{ROWS} kv{keys} H12 D128", 4.0 * ROWS * keys * 12 * 128
        for name, backend in (("cudnn", SDPBackend.CUDNN_ATTENTION), ("flash", SDPBackend.FLASH_ATTENTION)):
            def call(backend=backend):
                with sdpa_kernel(backend):
                    torch.nn.functional.scaled_dot_product_attention(q, k, v)
            line("attention", "bf16", shape, operations, call, name)


def copies():
    x = torch.empty(1 << 30, device="cuda", dtype=torch.uint8)
    y = torch.empty_like(x)
    line("copy", "bytes", "1 GiB", 2.0 * x.numel(), lambda: y.copy_(x), "cuda")


products()
attention()
copies()

"""What cuDNN takes for convolutions and for attention: reads {"convolutions": [...], "attention": [...]} from stdin, as
profiles write their keys, and prints the same with bytes (calibrate/src/pytorch.rs).

A workspace is what a call allocates beyond what it leaves: the peak less what is allocated when it is done."""

import json
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def beyond(call):
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    kept = call()
    torch.cuda.synchronize()
    taken = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
    del kept
    return taken


def convolution(of):
    layout = torch.channels_last if of["channels_last"] else torch.contiguous_format
    dtype = getattr(torch, of["dtype"])
    channels = of["weight"][1]
    groups = of["input"][1] // channels
    x = torch.ones(of["input"], device="cuda", dtype=dtype).to(memory_format=layout)
    w = torch.ones(of["weight"], device="cuda", dtype=dtype).to(memory_format=layout)
    window = [of["stride"]] * 2, [of["padding"]] * 2, [of["dilation"]] * 2

    def forward():
        return torch.ops.aten.convolution(x, w, None, *window, False, [0, 0], groups)

    g = torch.ones_like(forward())

    def backward(mask):
        return torch.ops.aten.convolution_backward(g, x, w, None, *window, False, [0, 0], groups, mask)

    call = {
        "forward": forward,
        "input": lambda: backward([True, False, False]),
        "weight": lambda: backward([False, True, False]),
    }[of["direction"]]
    torch.backends.cudnn.benchmark = False
    call()
    heuristic = beyond(call)
    torch.backends.cudnn.benchmark = True
    trying = beyond(call)
    benchmark = beyond(call)
    return {"of": of, "heuristic": heuristic, "benchmark": benchmark, "trying": max(trying, benchmark)}


def attention(of):
    dtype = getattr(torch, of["dtype"])
    q = torch.ones(of["query"], device="cuda", dtype=dtype, requires_grad=True)
    k, v = (torch.ones(of["key"], device="cuda", dtype=dtype, requires_grad=True) for _ in range(2))

    def forward():
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=of["causal"])

    forward()
    taken = beyond(forward)
    out = forward()
    g = torch.ones_like(out)
    torch.autograd.grad(out, (q, k, v), g, retain_graph=True)
    given = beyond(lambda: torch.autograd.grad(out, (q, k, v), g, retain_graph=True))
    return {"of": of, "forward": taken, "backward": given}


asked = json.load(sys.stdin)
x = torch.ones(256, 256, device="cuda")
before = torch.cuda.memory_allocated()
y = x @ x
torch.cuda.synchronize()
blas = torch.cuda.memory_allocated() - before - y.untyped_storage().nbytes()
capable = torch.cuda.get_device_capability() >= (9, 0)
print(
    json.dumps(
        {
            "blas": blas,
            "convolutions": [convolution(of) for of in asked["convolutions"]],
            "attention": [attention(of) for of in asked["attention"]] if capable else [],
        }
    )
)

"""What a process of PyTorch's holds outside its allocator: stages, each told on stdout as one line of JSON; a line from
stdin leads to the next (calibrate/src/holder.rs)."""

import json
import sys

import torch
import torch.nn.functional as F


def tell(stage):
    torch.cuda.synchronize()
    said = {"stage": stage, "reserved": torch.cuda.memory_reserved(), "version": torch.__version__}
    print(json.dumps(said), flush=True)
    sys.stdin.readline()


half = torch.float16
x = torch.ones(256, 256, device="cuda", dtype=half)
tell("tensor")
x @ x
tell("product")
F.conv2d(torch.ones(8, 16, 64, 64, device="cuda", dtype=half), torch.ones(32, 16, 3, 3, device="cuda", dtype=half), padding=1)
tell("convolution")
q = torch.ones(2, 8, 256, 64, device="cuda", dtype=half, requires_grad=True)
F.scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward()
tell("attention")

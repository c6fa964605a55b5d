"""Backward passes of softmax, group_norm and indexing on the GPU that EMULATED_GPU names: record_facts.py SEED COUNT prints rows of facts.csv.

Columns: GPU, operator, dtype, sizes, events. Sizes: softmax rows and length; group-norm batch, channels, positions, groups;
index-1 and index-2 (x[i], x[i, j]) indices, then x's three dimensions.
"""
import os, random, sys
import torch
from recorder import Recorder, text

r, count, gpu = random.Random(sys.argv[1]), int(sys.argv[2]), os.environ["EMULATED_GPU"]
recorder, aten = Recorder(), torch.ops.aten
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
for _ in range(count):
    op, name = r.choice(["softmax", "softmax-float32", "group-norm", "index-1", "index-2"]), r.choice(list(DTYPES))
    name = "float16" if op == "softmax-float32" else name
    make = lambda *shape, dtype=DTYPES[name]: torch.empty(*shape, dtype=dtype, device="cuda")
    size = lambda most: int(2 ** r.uniform(0, most))
    if op.startswith("softmax"):
        sizes = [size(12), size(16)]
        x = make(*sizes, dtype=torch.float32) if op.endswith("32") else make(*sizes)
        events = recorder.run(aten._softmax_backward_data, x, x, -1, DTYPES[name])
    elif op == "group-norm":
        groups = r.choice([1, 4, 8, 32])
        sizes = [size(4), groups * r.choice([1, 2, 10]), r.choice([1, 2, size(12)]), groups]
        x, w, s = make(*sizes[:3]), make(sizes[1]), make(sizes[0], groups)
        events = recorder.run(aten.native_group_norm_backward, x, x, s, s, w, *sizes, [True] * 3)
    else:
        sizes = [r.choice([size(8), size(17)]), size(8), size(9), size(5)]
        x, i = make(*sizes[1:]).requires_grad_(), torch.zeros(sizes[0], dtype=torch.int64, device="cuda")
        y = x[i] if op == "index-1" else x[i, i]
        g = torch.empty_like(y)
        events = recorder.run(torch.autograd.grad, y, x, g)
        del y, g
    events = [e for e in events if e != "argument"]  # what other threads and the autograd graph free meanwhile
    print(gpu, op, name, "x".join(map(str, sizes)), text(events), sep=",")

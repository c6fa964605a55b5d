"""Norms and clipping of lists of gradients on the GPU that EMULATED_GPU names: record_foreach.py SEED COUNT prints rows of foreach.csv.

Columns: GPU, norm, clip or clip-each (foreach=False), dtype, elements of each tensor, events.
"""
import os, random, sys
import torch
from recorder import Recorder, text

r, count, gpu = random.Random(sys.argv[1]), int(sys.argv[2]), os.environ["EMULATED_GPU"]
recorder = Recorder()
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
for _ in range(count):
    op, dtype = r.choice(["norm", "clip", "clip-each"]), r.choice(list(DTYPES))
    sizes = [int(2 ** r.uniform(0, 25)) for _ in range(r.randint(1, r.choice([3, 12])))]
    tensors = [torch.nn.Parameter(torch.empty(n, dtype=DTYPES[dtype], device="cuda")) for n in sizes]
    for t in tensors:
        t.grad = torch.empty_like(t)
    if op == "norm":
        events = recorder.run(torch._foreach_norm, [t.grad for t in tensors])
    else:
        events = recorder.run(lambda: torch.nn.utils.clip_grad_norm_(tensors, 1.0, foreach=op == "clip"))
    print(gpu, op, dtype, "x".join(map(str, sizes)), text(events), sep=",")

"""Sorts, top-k and sums along rows on the GPU that EMULATED_GPU names: record_sort.py SEED COUNT prints rows of sort.csv.

Columns: GPU, sort, topk or cumsum, dtype, rows, elements of a row, k, events.
"""
import os, random, sys
import torch
from recorder import Recorder, text

r, count, gpu = random.Random(sys.argv[1]), int(sys.argv[2]), os.environ["EMULATED_GPU"]
recorder = Recorder()
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "int64": torch.int64, "int32": torch.int32, "bool": torch.bool}
for _ in range(count):
    op = r.choice(["sort", "topk", "cumsum"])
    dtype = r.choice([d for d in DTYPES if op == "cumsum" or d != "bool" and (d[-2:] != "16" or op != "sort" or gpu[:2] == "h1" or gpu[:2] == "h2")])
    rows = r.choice([1, 1, 1, 2, 8, 20, 64, 127, 128, 2048, 4096, 8192, int(2 ** r.uniform(0, 17))])
    length = r.choice([8, 60, 128, 768, 4096, 4097, 8192, 32000, 50257, 128256, int(2 ** r.uniform(0, 21))])
    if rows * length > 2 ** 28:
        continue
    k = min(length, r.choice([1, 2, 8, 50, 1000, 4096]))
    x = torch.empty(rows, length, dtype=DTYPES[dtype], device="cuda")
    calls = {"sort": lambda: x.sort(-1), "topk": lambda: x.topk(k), "cumsum": lambda: x.cumsum(-1)}
    print(gpu, op, dtype, rows, length, k, text(recorder.run(calls[op])), sep=",")

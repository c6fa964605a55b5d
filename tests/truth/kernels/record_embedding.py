"""Gradients of embeddings on the GPU that EMULATED_GPU names: record_embedding.py SEED COUNT prints rows of embedding.csv.

Columns: GPU, dtype of the gradient, of the indices, indices, width, rows of the table, padding index, "freq" if scaled by
frequency, "grad" and "indices" where those are not contiguous, events. The emulated device has to report the architecture
that the GPU's kernels are built for (8.0, 8.6 or 9.0): cub chooses its tile sizes by it.
"""
import os, random, sys
import torch
from recorder import Recorder, text

r, count, gpu = random.Random(sys.argv[1]), int(sys.argv[2]), os.environ["EMULATED_GPU"]
recorder = Recorder()
GRADS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
INDICES = {"int64": torch.int64, "int32": torch.int32}
for _ in range(count):
    grad, index = r.choice(list(GRADS)), r.choice(["int64", "int64", "int32"])
    n = r.choice([1, 512, 3071, 3072, 3073, 4096, 8192, 16384, 32768, 65536, 100_000, int(2 ** r.uniform(0, 19)), int(2 ** r.uniform(11, 17))])
    width, rows = r.choice([8, 64, 128, 768, 1024, 2048, 4096, r.randint(1, 8192)]), r.choice([2, 512, 1024, 30522, 32000, 50257, 128256, r.randint(1, 200_000)])
    padding, frequency = r.choice([-1, -1, 0, 1]), r.random() < 0.15
    spread_grad, spread_indices = r.random() < 0.1, r.random() < 0.1
    try:
        g = torch.empty(n, width * (2 if spread_grad else 1), dtype=GRADS[grad], device="cuda")[:, :width]
        i = torch.empty(n * (2 if spread_indices else 1), dtype=INDICES[index], device="cuda")[:: 2 if spread_indices else 1]
        events = recorder.run(torch.ops.aten.embedding_dense_backward, g, i, rows, padding, frequency)
    except torch.OutOfMemoryError:
        continue
    options = [name for name, on in (("freq", frequency), ("grad", not g.is_contiguous()), ("indices", not i.is_contiguous())) if on]
    print(gpu, grad, index, n, width, rows, padding, "+".join(options), text(events), sep=",")
    del g, i

"""Backward passes of layer_norm and rms_norm on the GPU that EMULATED_GPU names: record_layer_norm.py SEED COUNT prints rows of layer_norm.csv.

Columns: GPU, layer or rms, dtype, rows, width, which gradients are wanted (input, weight, bias), "grad" and "input" where
those are not contiguous, events.
"""
import os, random, sys
import torch
from recorder import Recorder, text

r, count, gpu = random.Random(sys.argv[1]), int(sys.argv[2]), os.environ["EMULATED_GPU"]
recorder = Recorder()
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
for _ in range(count):
    kind, dtype = r.choice(["layer", "layer", "rms"]), r.choice(list(DTYPES))
    rows = r.choice([1, 127, 128, 2048, 65535, 65536, 65537, 65568, 100_000, 1 << 17, 1 << 20, int(2 ** r.uniform(0, 21)), int(2 ** r.uniform(16, 22)), int(2 ** r.uniform(16, 22))])
    width = r.choice([8, 64, 96, 127, 128, 192, 384, 768, 1024, 1280, 1312, 1344, 2048, 2080, 2112, 4096, int(2 ** r.uniform(0, 13))])
    if rows * width > 2 ** 30:
        continue
    mask = [r.random() < 0.85 for _ in range(3 if kind == "layer" else 2)]
    options = [name for name in ("grad", "input") if r.random() < 0.1]
    make = lambda name: torch.empty(width, rows, dtype=DTYPES[dtype], device="cuda").t() if name in options else torch.empty(rows, width, dtype=DTYPES[dtype], device="cuda")
    weight = torch.empty(width, dtype=DTYPES[dtype], device="cuda")
    statistic = torch.empty(rows, 1, dtype=torch.float64 if dtype == "float64" else torch.float32, device="cuda")
    try:
        g, x = make("grad"), make("input")
        if kind == "layer":
            events = recorder.run(torch.ops.aten.native_layer_norm_backward, g, x, (width,), statistic, statistic, weight, weight, mask)
        else:
            events = recorder.run(torch.ops.aten._fused_rms_norm_backward, g, x, (width,), statistic, weight, mask)
    except torch.OutOfMemoryError:
        continue
    options = [name for name, tensor in (("grad", g), ("input", x)) if not tensor.is_contiguous()]
    print(gpu, kind, dtype, rows, width, "".join("-y"[on] for on in mask), "+".join(options), text(events), sep=",")
    del g, x, weight, statistic
    torch.cuda.empty_cache()

"""Random reductions on the GPU that EMULATED_GPU names: record_reduce.py SEED COUNT [large] prints rows of reduce.csv."""
import math, os, random, sys
import torch
from recorder import Recorder, text

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64,
          "int64": torch.int64, "int32": torch.int32, "bool": torch.bool, "uint8": torch.uint8}
FLOATING = ("float32", "bfloat16", "float16", "float64")
OPS = {
    "sum": (lambda x, d: x.sum(d), DTYPES), "prod": (lambda x, d: x.prod(d[0]), DTYPES), "mean": (lambda x, d: x.mean(d), FLOATING),
    "sum-float32": (lambda x, d: x.sum(d, dtype=torch.float32), DTYPES), "mean-float32": (lambda x, d: x.mean(d, dtype=torch.float32), DTYPES),
    "amax": (lambda x, d: x.amax(d), DTYPES), "any": (lambda x, d: x.any(d), DTYPES), "all": (lambda x, d: x.all(d), DTYPES),
    "norm": (lambda x, d: torch.linalg.vector_norm(x, 2, d), FLOATING), "norm-float32": (lambda x, d: torch.linalg.vector_norm(x, 2, d, dtype=torch.float32), FLOATING[:3]),
    "norm-1": (lambda x, d: torch.linalg.vector_norm(x, 1, d), FLOATING), "norm-inf": (lambda x, d: torch.linalg.vector_norm(x, math.inf, d), FLOATING),
    "argmax": (lambda x, d: x.argmax(d[0]), [d for d in DTYPES if d != "bool"]), "max-dim": (lambda x, d: x.max(d[0]), DTYPES),
    "var": (lambda x, d: x.var(d), FLOATING), "max": (lambda x, d: x.max(), DTYPES),
}
ONE_DIM = ("argmax", "max-dim", "prod")


def random_case(r, limit, large):
    op = r.choice(list(OPS))
    dtype = r.choice(list(OPS[op][1]))
    while True:
        dims = r.randint(1, 4)
        shape = [r.choice([1, 2, 3, 4, 5, 7, 8, 12, 16, 32, 50, 64, 77, 96, 100, 128, 197, 256, 384, 512, 768, 1000, 1024, 2048, 3072, 4096, 8192, 32000, 50257, 128256, 1 << 20])
                 if r.random() < 0.8 else int(2 ** r.uniform(0, 22)) for _ in range(dims)]
        size = math.prod(shape) * DTYPES[dtype].itemsize
        if size * 3 < limit and (size > 2 ** 31 if large else r.random() < 0.1 or size < 2 ** 31 and (size > 2 ** 14 or r.random() < 0.3)):
            break
    reduced = [r.random() < 0.5 for _ in range(dims)]
    if op == "max":
        reduced = [True] * dims
    if not any(reduced) or op in ONE_DIM:
        reduced = [False] * dims
        reduced[r.randrange(dims)] = True
    return op, dtype, shape, reduced


def layout(r, shape, dtype):
    """A tensor of that shape: mostly contiguous, else permuted, expanded, padded or starting off alignment."""
    kind = r.choice(["contiguous"] * 5 + ["permuted"] * 2 + ["expanded", "padded", "offset"])
    if kind == "permuted":
        order = list(range(len(shape)))
        r.shuffle(order)
        x = torch.empty([shape[i] for i in order], dtype=dtype, device="cuda")
        return x.permute([order.index(i) for i in range(len(shape))])
    if kind == "expanded":
        kept = [n if r.random() < 0.6 else 1 for n in shape]
        return torch.empty(kept, dtype=dtype, device="cuda").expand(shape)
    if kind == "padded":
        at = r.randrange(len(shape))
        wide = list(shape)
        wide[at] += r.choice([1, 2, 4, 8, shape[at]])
        return torch.empty(wide, dtype=dtype, device="cuda").narrow(at, 0, shape[at])
    if kind == "offset":
        by = r.choice([1, 2, 4, 8])
        return torch.empty(math.prod(shape) + by, dtype=dtype, device="cuda")[by:].view(shape)
    return torch.empty(shape, dtype=dtype, device="cuda")


def main():
    r, count, gpu = random.Random(sys.argv[1]), int(sys.argv[2]), os.environ["EMULATED_GPU"]
    recorder, limit = Recorder(), torch.cuda.get_device_properties(0).total_memory
    for _ in range(count):
        op, dtype, shape, reduced = random_case(r, limit, "large" in sys.argv)
        try:
            x = layout(r, shape, DTYPES[dtype])
            dims = [i for i, on in enumerate(reduced) if on]
            events = recorder.run(lambda: OPS[op][0](x, dims))
        except (torch.OutOfMemoryError, NotImplementedError, RuntimeError) as error:
            print(op, dtype, shape, str(error)[:100], file=sys.stderr)
            continue
        joined = lambda values: "x".join(map(str, values))
        print(gpu, op, dtype, joined(x.shape), joined(x.stride()), x.storage_offset(), "".join("ry"[not on] for on in reduced).replace("y", "-"), text(events), sep=",")
        del x
        torch.cuda.empty_cache()


main()

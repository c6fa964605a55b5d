#!/usr/bin/env python3
"""Records what PyTorch does for calls of scaled_dot_product_attention, as rows of CSV on standard output.

    EMULATED_GPU=h200 oracle record_attention.py choices SEED N
    EMULATED_GPU=h200 oracle record_attention.py plans SEED N [--only flash|efficient|cudnn|math] [--calls random|typical|decode]

`oracle` is the Python of the emulated device (see oracle/README.md); the script runs on a real GPU too, where cuDNN's
workspaces appear. b200, rtx5090 and l40s were recorded with these devices added to the emulated device's table
(compute capability 10.0, 12.0, 8.9; 148, 170, 142 multiprocessors).

Columns of attention_choice.csv: GPU, dtype, query, key, value, mask, dropout, flags, which of q, k, v require a gradient;
then PyTorch's choice, and whether cuDNN, flash, efficient can run the call when only that one is enabled.
Columns of attention_plan.csv: GPU, backend, the same eight, the output's gradient; then the output, the events of the
forward call, those of the backward, and the gradients of query, key, value and mask.

A tensor is `2x3x4`, with `:strides` where it is not contiguous; a mask's `*` says that it requires a gradient. Events are
`+bytes` for an allocation, `-n` when the n-th allocation of the row is freed, and `-g` when the output's gradient is. Calls whose mask's gradient is a sum of
256 elements or more are left out: that sum's kernel takes temporaries of its own.
"""
import argparse, contextlib, os, random, warnings

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

BACKENDS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION, "math": SDPBackend.MATH}
NAMES = {0: "math", 1: "flash", 2: "efficient", 3: "cudnn"}
MARK = 12345  # an allocation of so many bytes separates the parts of the allocator's history


def contiguous(shape):
    strides, n = [], 1
    for size in reversed(shape):
        strides.insert(0, n)
        n *= max(size, 1)
    return tuple(strides)


def strides(layout, shape, chance):
    """Strides of [batch, heads, sequence, head_dim] in a layout that models produce."""
    b, h, s, d = shape
    return {"heads": (h * s * d, s * d, d, 1), "rows": (s * h * d, d, h * d, 1), "packed": (s * 3 * h * d, d, 3 * h * d, 1),
            "column": (h * s * d, s * d, 1, s), "cache": (h * (s + 7) * d, (s + 7) * d, d, 1), "shared": (0, s * d, d, 1),
            "sequence first": (d, b * d, b * h * d, 1)}[layout]


def random_call(chance, backend):
    b, h = chance.choice([1, 1, 2, 3, 4, 8]), chance.choice([1, 2, 3, 4, 6, 8, 12, 16, 32])
    groups = chance.choice([1, 1, 1, 2, 4])
    kept = h // groups if h % groups == 0 else h
    s = chance.choice([1, 1, 2, 7, 16, 64, 100, 128, 129, 197, 256, 333, 512, 1000, 1024, 2048])
    keys = s if chance.random() < 0.65 else chance.choice([1, 2, 5, 16, 77, 128, 300, 512, 1024, 2500, 4096])
    d = chance.choice([8, 16, 32, 40, 64, 64, 64, 72, 80, 96, 100, 57, 128, 128, 160, 192, 196, 200, 224, 232, 248, 256, 257, 264, 320, 512, 4, 36, 60])
    v = d if chance.random() < 0.85 else chance.choice([8, 32, 64, 128, 100, 192, 256])
    d, v = (192, 128) if chance.random() < 0.03 else (d, v)
    grouped = chance.random() < (0.9 if kept != h else 0.15)
    if not grouped and backend != "choice":
        kept = h
    if backend == "choice" and chance.random() < 0.04:
        b, keys = chance.choice([(0, keys), (b, 0)])
    layouts = chance.choices(["rows", "heads", "packed", "column", "cache", "shared", "sequence first"], [40, 25, 20, 3, 5, 3, 4], k=3)
    if chance.random() < 0.7:
        layouts = layouts[:1] * 3
    call = dict(dtype=chance.choice(["float32", "float16", "bfloat16", "bfloat16"] + (["float64"] if chance.random() < 0.1 else [])), grouped=grouped, causal=False,
                q=(b, h, s, d), k=(b, kept, keys, d), v=(b, kept, keys, v), mask=None, bias=None, dropout=chance.choices([0.0, 0.1, 0.125], [80, 12, 8])[0])
    for name, layout in zip("qkv", layouts):
        call[name] = (call[name], strides(layout, call[name], chance))
    kind = chance.random()
    if kind < 0.4:
        call["causal"] = True
    elif kind < 0.75:
        call["mask"] = random_mask(chance, b, h, s, keys)
    call["mask*"] = call["mask"] is not None and call["mask"][0] == "float" and chance.random() < 0.25
    which = chance.random()
    call["grads"] = (True,) * 3 if which < 0.6 else (False,) * 3 if which < 0.85 else tuple(chance.random() < 0.5 for _ in range(3))
    out = (b, h, s, v)
    call["g"] = (out, (0, 0, 0, 0) if chance.random() < 0.25 else strides(chance.choice(["rows", "heads", "column"]), out, chance))
    return call


def random_mask(chance, b, h, s, keys):
    shape = chance.choice([(b, 1, s, keys), (b, h, s, keys), (1, 1, s, keys), (b, 1, 1, keys), (1, h, s, keys), (s, keys)])
    stride, way = contiguous(shape), chance.random()
    if len(shape) == 4 and way < 0.35:  # an expanded view
        wanted = (b, h if shape[1] == h else 1, s, keys)
        stride = tuple(0 if own == 1 != size else n for own, size, n in zip(shape, wanted, stride))
        shape = wanted
    elif way < 0.5:  # a slice of a longer mask
        stride = contiguous(shape[:-1] + (keys + chance.choice([3, 5, 8, 16]),))
    return chance.choice(["bool", "float"]), shape, stride


def decode_call(chance, backend):
    """One query or a few against a cache of keys."""
    call = random_call(chance, backend)
    b, kept, d = chance.choice([1, 1, 2, 4, 16, 64]), chance.choice([1, 2, 4, 8, 16, 32]), chance.choice([64, 80, 96, 128, 128, 256])
    h, s = kept * chance.choice([1, 1, 2, 4, 8]), chance.choice([1, 1, 1, 1, 2, 5])
    keys = chance.choice([2, 33, 128, 129, 500, 1024, 1025, 2048, 4096, 8192, 9000, 32768])
    call.update(dtype=chance.choice(["float16", "bfloat16"]), q=(b, h, s, d), k=(b, kept, keys, d), v=(b, kept, keys, d), grouped=h != kept, mask=None, causal=False, dropout=0.0, grads=(chance.random() < 0.2,) * 3)
    call["mask*"] = False
    for name in "qkv":
        call[name] = (call[name], strides(chance.choice(["rows", "heads", "cache"]), call[name], chance))
    call["g"] = (call["q"][0], strides("rows", call["q"][0], chance))
    return call


def typical_calls():
    """As the models of transformers, timm and torchvision call it."""
    def call(b, h, s, d, dtype, kept=None, keys=None, layout="rows", mask=None, bias=False, causal=False, dropout=0.0, train=True):
        q, k = (b, h, s, d), (b, kept or h, keys or s, d)
        return {"dtype": dtype, "grouped": k[1] != h, "causal": causal, "q": (q, strides(layout, q, None)), "k": (k, strides(layout, k, None)), "v": (k, strides(layout, k, None)),
                "mask": mask, "mask*": bias, "dropout": dropout, "grads": (train,) * 3, "g": (q, strides("rows", q, None))}
    for dtype in ("float32", "bfloat16", "float16"):
        yield call(8, 12, 512, 64, dtype, layout="packed", causal=True)                     # gpt2
        yield call(4, 12, 128, 64, dtype, layout="packed", causal=True, dropout=0.1)
        yield call(3, 8, 333, 57, dtype, causal=True)                                       # 8 heads of a hidden size of 456
        yield call(2, 32, 1024, 64, dtype, kept=8, causal=True)                             # llama-3.2-1b
        yield call(1, 32, 2048, 128, dtype, kept=8, causal=True, train=False)               # llama-3.1-8b, prefill
        yield call(1, 32, 1, 128, dtype, kept=8, keys=700, train=False)                     # and decode
        yield call(1, 16, 512, 256, dtype, causal=True)                                     # head dimension 256
        yield call(16, 12, 128, 64, dtype, mask=("bool", (16, 1, 128, 128), (128, 0, 0, 1)))  # bert
        yield call(4, 12, 77, 64, dtype, mask=("float", (4, 1, 77, 77), contiguous((4, 1, 77, 77))))
        yield call(8, 12, 197, 64, dtype, layout="heads")                                   # vit
        yield call(64, 4, 49, 32, dtype, mask=("float", (1, 4, 49, 49), contiguous((1, 4, 49, 49))), bias=True, layout="heads")  # relative position bias
        yield call(2, 8, 1024, 80, dtype, keys=77)                                          # cross-attention of a diffusion model


def tensors(call, device="cuda"):
    dtype = getattr(torch, call["dtype"])
    made = [torch.empty_strided(*call[name], dtype=dtype, device=device).requires_grad_(wanted) for name, wanted in zip("qkv", call["grads"])]
    mask = None
    if call["mask"]:
        kind, shape, stride = call["mask"]
        mask = torch.empty_strided(shape, stride, dtype=torch.bool if kind == "bool" else dtype, device=device).requires_grad_(call["mask*"])
    return (*made, mask)


def choice(call):
    try:
        return NAMES[torch._fused_sdp_choice(*tensors(call), call["dropout"], call["causal"], enable_gqa=call["grouped"])]
    except RuntimeError:
        return None


def text(shape, stride):
    shape_text = "x".join(map(str, shape))
    return shape_text if tuple(stride) == contiguous(shape) else shape_text + ":" + "/".join(map(str, stride))


def columns(call):
    mask = "none" if not call["mask"] else call["mask"][0] + "*" * call["mask*"] + " " + text(*call["mask"][1:])
    flags = "+".join(name for name in ("causal", "grouped") if call[name]) or "-"
    return [call["dtype"], *(text(*call[name]) for name in "qkv"), mask, f"{call['dropout']:g}", flags, "".join(n for n, wanted in zip("qkv", call["grads"]) if wanted) or "-"]


def choices(gpu, calls):
    for call in calls:
        answers = [choice(call)]
        for name in ("cudnn", "flash", "efficient"):
            with sdpa_kernel(BACKENDS[name]):
                answers.append("yes" if choice(call) else "no")
        print(",".join([gpu, *columns(call), *answers]))


def mark():
    torch.empty(MARK, device="cuda", dtype=torch.uint8)


class Gradient(torch.autograd.Function):
    """The node after the call: it keeps nothing of it, and hands back a new gradient of the wanted layout."""
    @staticmethod
    def forward(ctx, out, layout):
        ctx.layout = layout
        return torch.empty_like(out)

    @staticmethod
    def backward(ctx, gradient):
        return torch.empty_strided(*ctx.layout, dtype=gradient.dtype, device="cuda"), None


def run(call):
    """The output's strides (None where it raises), the gradients (None where it raises) and whether memory sufficed."""
    q, k, v, mask = tensors(call)
    out, back, fits = None, [], True
    mark()
    try:
        out = F.scaled_dot_product_attention(q, k, v, mask, call["dropout"], call["causal"], enable_gqa=call["grouped"])
    except RuntimeError as error:
        fits = not isinstance(error, torch.OutOfMemoryError)
    mark()
    stride = out is not None and out.stride()
    after = None if out is None else Gradient.apply(out, call["g"])
    del out
    mark()
    wanted = [t is not None and t.requires_grad for t in (q, k, v, mask)]
    if after is not None and any(wanted):
        try:
            made = iter(torch.autograd.grad(after, [t for t, w in zip((q, k, v, mask), wanted) if w], after))
            back = [next(made) if w else None for w in wanted]
        except RuntimeError as error:
            back, fits = None, not isinstance(error, torch.OutOfMemoryError)
    mark()
    return stride, back and [None if t is None else text(t.shape, t.stride()) for t in back], fits


def history():
    """The allocator's history, cut at the marks: lists of (number of the allocation, bytes or None when it is freed)."""
    parts, at, number = [[]], {}, 0
    for entry in torch.cuda.memory._snapshot()["device_traces"][0]:
        if entry["action"] == "alloc":
            if entry["size"] == MARK:
                parts.append([])
                continue
            at[entry["addr"]] = number
            parts[-1].append((number, entry["size"]))
            number += 1
        elif entry["action"] == "free_requested" and entry["size"] != MARK:
            parts[-1].append((at.pop(entry["addr"], -1), None))
    return parts


def plans(gpu, calls, only):
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):  # cuBLAS takes its workspaces here
        x = torch.empty(2, 64, 64, device="cuda", dtype=dtype, requires_grad=True)
        (x @ x).sum().backward()
    torch.cuda.memory._record_memory_history(max_entries=10_000_000, stacks="python", context=None)
    rows = []
    with sdpa_kernel(BACKENDS[only]) if only else contextlib.nullcontext():
        for call in calls:
            elements = call["q"][0][0] * call["q"][0][1] * call["q"][0][2] * call["k"][0][2]
            summed = elements // max(1, torch.Size(call["mask"][1]).numel()) if call["mask*"] else 0
            if 0 in (*call["q"][0], *call["k"][0]) or elements > 4e9 or summed >= 256:
                continue
            if backend := choice(call):
                rows.append((call, backend, *run(call)))
    parts = history()
    for at, (call, backend, out, back, fits) in enumerate(rows):
        if not fits:
            continue
        forward, backward = parts[4 * at + 1], parts[4 * at + 3]
        gradient = min([n for n, size in backward if size], default=None)
        made = [n for n, size in forward + backward if size and n != gradient]
        name = {**{n: at for at, n in enumerate(made)}, gradient: "g"}
        events = [" ".join(f"+{size}" if size else f"-{name[n]}" for n, size in part if n in name and (n != gradient or not size)) for part in (forward, backward)]
        shape = call["g"][0]
        ends = [text(shape, out), events[0], *(["raises", ""] if back is None else [events[1], ";".join(t or "-" for t in back)])] if out else ["raises", "", "", ""]
        print(",".join([gpu, backend, *columns(call), text(*call["g"]), *ends]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["choices", "plans"]); parser.add_argument("seed", type=int); parser.add_argument("n", type=int)
    parser.add_argument("--only", choices=BACKENDS); parser.add_argument("--calls", default="random", choices=["random", "typical", "decode"])
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    chance = random.Random(args.seed)
    make = decode_call if args.calls == "decode" else random_call
    purpose = "choice" if args.what == "choices" else "plan"
    calls = list(typical_calls()) if args.calls == "typical" else [make(chance, purpose) for _ in range(args.n)]
    gpu = os.environ.get("EMULATED_GPU", "h200")
    choices(gpu, calls) if args.what == "choices" else plans(gpu, calls, args.only)


if __name__ == "__main__":
    main()

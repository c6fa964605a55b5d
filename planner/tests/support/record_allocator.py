#!/usr/bin/env python3
"""record_allocator.py SEED ... > recorded.jsonl: what PyTorch's caching allocator does with random requests.

Needs PyTorch 2.11 on a CUDA device or an emulated one whose memory is EMULATED_GPU_BYTES. Each seed runs in a process of
its own (options are read once a process) and gives one line: options, capacity, and after every step the figures of
torch.cuda.memory_stats(). Steps call torch.cuda.caching_allocator_alloc / _delete, Tensor.record_stream,
torch.cuda.empty_cache and torch.cuda.set_per_process_memory_fraction. planner/tests/recorded.rs replays the lines."""
import json, os, random, subprocess, sys

MiB = 1 << 20
OPTIONS = ["", "", "expandable_segments:True", "max_split_size_mb:20", "max_split_size_mb:32,max_non_split_rounding_mb:64",
           "roundup_power2_divisions:4", "roundup_power2_divisions:[2:8,8:2,32:4,>:1]", "roundup_power2_divisions:[>:2]",
           "garbage_collection_threshold:0.5,per_process_memory_fraction:0.7", "garbage_collection_threshold:0.8",
           "expandable_segments:True,roundup_power2_divisions:8", "expandable_segments:True,max_split_size_mb:40",
           "large_segment_size_mb:32", "large_segment_size_mb:32,expandable_segments:True", "large_segment_size_mb:21",
           "per_process_memory_fraction:0.5", "expandable_segments:True,per_process_memory_fraction:0.6",
           "garbage_collection_threshold:0.3,per_process_memory_fraction:0.8,max_split_size_mb:24",
           "expandable_segments:True,garbage_collection_threshold:0.3,per_process_memory_fraction:0.8"]


def size(draw):
    kind = draw.random()
    if kind < 0.35:
        return draw.randint(1, 3000) if draw.random() < 0.5 else draw.randint(1, MiB)
    if kind < 0.45:
        return draw.choice([1024, MiB, 2 * MiB, 10 * MiB, 20 * MiB, 24 * MiB, 32 * MiB]) + draw.choice([-513, -512, -1, 0, 1, 512])
    if kind < 0.9:
        return int(MiB * 2 ** draw.uniform(0, 5))
    return int(MiB * 2 ** draw.uniform(4, 7.5))


def run(seed, capacity):
    import torch
    cuda, draw = torch.cuda, random.Random(seed)
    streams = [cuda.default_stream()] + [cuda.Stream() for _ in range(2)]
    live, steps, number = [], [], 0
    for _ in range(400):
        kind = draw.random()
        if kind < 0.005:
            cuda.empty_cache()
            step = ["empty"]
        elif kind < 0.01:
            cuda.reset_peak_memory_stats()
            step = ["reset"]
        elif kind < 0.45 and live:
            index, tensor = live.pop(draw.randrange(len(live)) if draw.random() < 0.7 else -1)
            del tensor
            step = ["free", index]
        elif kind < 0.47 and live:
            index, tensor = draw.choice(live)
            stream = draw.randrange(3)
            tensor.record_stream(streams[stream])
            step = ["use", index, stream]
            del tensor
        else:
            stream, wanted = draw.choice([0, 0, 0, 1, 2]), size(draw)
            step = ["alloc", wanted, stream]
            try:
                with cuda.stream(streams[stream]):
                    live.append((number, torch.empty(wanted, dtype=torch.uint8, device="cuda")))
                number += 1
            except cuda.OutOfMemoryError:
                step[0] = "fail"
        stats = cuda.memory_stats()
        steps.append(step + [[stats[key] for key in (
            "allocated_bytes.all.current", "allocated_bytes.all.peak", "reserved_bytes.all.current", "reserved_bytes.all.peak",
            "requested_bytes.all.current", "num_alloc_retries", "num_ooms", "num_device_alloc", "num_device_free")]])
    print(json.dumps({"seed": seed, "options": os.environ["PYTORCH_CUDA_ALLOC_CONF"], "capacity": capacity, "steps": steps}, separators=(",", ":")))


if sys.argv[1] == "--one":
    run(int(sys.argv[2]), int(os.environ["EMULATED_GPU_BYTES"]))
else:
    for seed in sys.argv[1:]:
        draw = random.Random(int(seed) + 1000)
        options = OPTIONS[int(seed) % len(OPTIONS)]
        capacity = draw.choice([200, 301, 400, 600, 1000]) * MiB
        environment = {**os.environ, "PYTORCH_CUDA_ALLOC_CONF": options, "EMULATED_GPU_BYTES": str(capacity)}
        subprocess.run([sys.executable, os.path.abspath(__file__), "--one", seed], env=environment, check=True)

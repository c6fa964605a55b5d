"""Records what PyTorch's caching allocator does with private pools: `record_pools.py OUT SEED COUNT`, on the emulated device or a GPU.

Pools 1 and 2 are MemPools, 3 and 4 are filled as graphs of one pool are (torch/_inductor/cudagraph_trees.py), 0 is none. After each
step stand memory_allocated, memory_reserved and max_memory_reserved.
"""
import contextlib
import json
import random
import sys

import torch

out, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random.seed(seed)
torch.cuda.init()
torch.empty(1, device="cuda")
torch.cuda.empty_cache()
torch.cuda.reset_peak_memory_stats()
pools = {1: torch.cuda.MemPool(), 2: torch.cuda.MemPool(), 3: torch.cuda.graph_pool_handle(), 4: torch.cuda.graph_pool_handle()}
streams = [torch.cuda.current_stream(), torch.cuda.Stream()]


@contextlib.contextmanager
def filled(pool):
    """What is allocated here lies in the pool."""
    if pool in (1, 2):
        with torch.cuda.use_mem_pool(pools[pool]):
            yield
    elif pool:
        torch._C._cuda_beginAllocateCurrentThreadToPool(0, pools[pool])
        used.setdefault(pool, 0)
        used[pool] += 1
        try:
            yield
        finally:
            torch._C._cuda_endAllocateToPool(0, pools[pool])
    else:
        yield


def stats():
    return [torch.cuda.memory_allocated(), torch.cuda.memory_reserved(), torch.cuda.max_memory_reserved()]


live, used, steps, number = {}, {}, [], 0
for _ in range(count):
    kind = random.random()
    if kind < 0.55 or not live:
        small, middle, large = random.randint(1, 4096), random.randint(4096, 1 << 20), random.randint(1 << 20, 24 << 20)
        size = random.choice([small, middle, large])
        pool = random.choice([0] + sorted(pools))
        stream = random.choice([0, 0, 1])
        step = {"bytes": size, "stream": stream, "pool": pool}
        with torch.cuda.stream(streams[stream]), filled(pool):
            try:
                live[number] = torch.empty(size, dtype=torch.uint8, device="cuda")
                step["allocate"] = number
            except torch.OutOfMemoryError:
                step["fails"] = number
        steps.append(step)
        number += 1
    elif kind < 0.94:
        gone = random.choice(sorted(live))
        del live[gone]
        steps.append({"free": gone})
    elif kind < 0.99:
        torch.cuda.empty_cache()
        steps.append({"empty_cache": True})
    elif len(pools) > 1:
        gone = random.choice(sorted(pools))
        steps.append({"delete" if gone < 3 else "give_up": gone})
        handle = pools.pop(gone)
        for _ in range(used.get(gone, 0)):
            torch._C._cuda_releasePool(0, handle)
        del handle
    else:
        continue
    steps[-1]["stats"] = stats()
json.dump({"torch": torch.__version__.split("+")[0], "capacity": torch.cuda.mem_get_info()[1], "steps": steps}, open(out, "w"))
print(torch.__version__, len(steps), "steps,", sum("fails" in step for step in steps), "fail")

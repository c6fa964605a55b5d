"""Runs small PyTorch calls one by one and tells what the caching allocator saw during each.

A call's events are a list: n (allocate n bytes), -k (free the k-th allocation of this call, from 1).
"""
import torch


class Recorder:
    def __init__(self):
        torch.cuda.init()

    def run(self, call, *arguments):
        """Events of call(*arguments), whose results live on while it is looked at."""
        record = torch.cuda.memory._record_memory_history
        record(None)
        record(max_entries=1_000_000, stacks="python", context=None, clear_history=True)
        result = call(*arguments)
        entries = torch.cuda.memory._snapshot()["device_traces"][0]
        del result
        events, at, count = [], {}, 0
        for entry in entries:
            if entry["action"] == "alloc":
                count += 1
                at[entry["addr"]] = count
                events.append(entry["size"])
            elif entry["action"] == "free_requested":
                events.append(-at.pop(entry["addr"]) if entry["addr"] in at else "argument")
        return events


def text(events):
    return " ".join(str(e) for e in events)

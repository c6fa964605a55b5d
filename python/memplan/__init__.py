"""Predicts the GPU memory of a PyTorch run to the byte, without PyTorch and without a GPU.

>>> import memplan
>>> memplan.plan("gpt2", batch=4, seq=512, gpu="rtx4090").fits
True

Each function is the program's command of the same name: its words are the command's, its options the command's flags with underscores
for dashes. ``None`` leaves a flag out, ``True`` and ``False`` switch it, lists have commas between. ``memplan plan --help`` says what there is.
"""

from __future__ import annotations

from typing import Any, Optional

from ._estimate import estimate
from ._program import MemplanError, UnknownOption, Word, keep, main
from ._results import Plan, Result

__all__ = [
    "MemplanError",
    "Plan",
    "Result",
    "UnknownOption",
    "advise",
    "buy",
    "checkpoint",
    "diff",
    "estimate",
    "fit",
    "main",
    "pack",
    "plan",
    "sweep",
]


def plan(model: Optional[Word] = None, **options: Any) -> Plan:
    """Plans a run of a model: its peaks, what takes them, whether it fits."""
    return Plan([] if model is None else [model], options)


def fit(model: Optional[Word] = None, **options: Any) -> Result:
    """Says where a run fits, and the largest batch and the longest sequence that would."""
    return _answer("fit", [model], options)


def advise(model: Optional[Word] = None, **options: Any) -> Result:
    """Says what to change so that a run fits: each change alone, and the smallest combination."""
    return _answer("advise", [model], options)


def checkpoint(model: Optional[Word] = None, **options: Any) -> Result:
    """Chooses the modules to checkpoint so that a run fits, at the least recomputation."""
    return _answer("checkpoint", [model], options)


def buy(model: Optional[Word] = None, **options: Any) -> Result:
    """Says how many of which GPU a run fits on, with which strategy, and what they cost."""
    return _answer("buy", [model], options)


def sweep(model: Optional[Word] = None, **options: Any) -> Result:
    """Plans every combination of sizes and choices."""
    return _answer("sweep", [model], options)


def diff(before: Word, after: Word, **options: Any) -> Result:
    """Says what differs between two models, runs or snapshots, and why."""
    return _answer("diff", [before, after], options)


def pack(model: Optional[Word] = None, **options: Any) -> Result:
    """Gives a model's buffers, or any with lifetimes, fixed offsets in one arena."""
    return _answer("pack", [model], options)


def _answer(command: str, words: list[Optional[Word]], options: dict[str, Any]) -> Result:
    return Result(keep(command, [word for word in words if word is not None], options))

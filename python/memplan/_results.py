"""Answers of the program: data for programs, text and tables for people."""

from __future__ import annotations

import json
import os
import tempfile
from html import escape
from typing import Any, Iterable, Optional

from ._program import Said, Word, keep, without


class Result:
    """What a command answers."""

    def __init__(self, said: Said) -> None:
        self._said = said
        #: The report as ``--format json`` writes it; ``None`` of what has no such form (``emit=``).
        self.data: Any = None if said.json is None else json.loads(said.json)

    @property
    def fits(self) -> bool:
        """Whether the program ends with 0: the run fits, something does, nothing failed."""
        return self._said.code == 0

    @property
    def text(self) -> str:
        """The report for people."""
        return self._said.text

    def to_json(self) -> str:
        """The report as ``--format json`` writes it."""
        return "null" if self._said.json is None else self._said.json

    def __repr__(self) -> str:
        return self.text.rstrip("\n")

    def _repr_html_(self) -> str:
        rows = largest_list(self.data)
        if not rows:
            return f"<pre>{escape(self.text)}</pre>"
        return f"<p>{escape(self.text.splitlines()[0])}</p>{table(rows)}"


class Plan(Result):
    """A plan of a run. Sizes are bytes."""

    def __init__(
        self, words: list[Word], options: dict[str, Any], folder: Optional[tempfile.TemporaryDirectory[str]] = None
    ) -> None:
        super().__init__(keep("plan", words, options, folder and folder.name))
        self._words, self._options = words, options
        # what the words name is there as long as the plan is
        self._folder = folder

    @property
    def exact(self) -> bool:
        """Whether it is a plan; else it is an estimate of a model that nothing describes, with bounds in ``data``."""
        return bool(self.data.get("exact", True))

    @property
    def peak_allocated(self) -> int:
        """What is allocated at most, as ``torch.cuda.max_memory_allocated()`` would say; of an estimate its upper bound."""
        return upper(self.data["peak_allocated"])

    @property
    def peak_reserved(self) -> int:
        """What is reserved at most, as ``torch.cuda.max_memory_reserved()`` would say; of an estimate its upper bound."""
        return upper(self.data["peak_reserved"])

    @property
    def phases(self) -> list[dict[str, Any]]:
        """The figures of each phase."""
        return list(self.data["phases"])

    @property
    def at_peak(self) -> dict[str, int]:
        """What the memory at the peak is for, by category."""
        return dict(self.data["at_peak"])

    @property
    def largest(self) -> list[dict[str, Any]]:
        """The largest tensors at the peak."""
        return list(self.data["largest"])

    @property
    def _compares(self) -> bool:
        """Whether it is a comparison (``compare=True``) or an estimate: without a plan of its own."""
        return "rows" in self.data or not self.exact

    def svg(self) -> Optional[str]:
        """The timeline as ``memplan report -o FILE.svg`` draws it, from the files as they are now; ``None`` where there is no plan."""
        if self._compares:
            return None
        told = {key: value for key, value in self._options.items() if key not in ("compare", "events", "format")}
        with tempfile.TemporaryDirectory(prefix="memplan-") as folder:
            path = os.path.join(folder, "plan.svg")
            keep("report", self._words, {**told, "output": path})
            with open(path, encoding="utf-8") as file:
                return without(file.read(), self._folder and self._folder.name)

    def __repr__(self) -> str:
        return super().__repr__() if self._compares else self.text.splitlines()[0]

    def _repr_html_(self) -> str:
        if self._compares:
            return super()._repr_html_()
        peaks = [
            {"": "peak allocated", "bytes": self.peak_allocated},
            {"": "peak reserved", "bytes": self.peak_reserved},
            *({"": category.replace("_", " "), "bytes": size} for category, size in self.at_peak.items()),
        ]
        return f"<p><b>{escape(repr(self))}</b></p>{table(peaks)}{self.svg()}"


def upper(size: Any) -> int:
    """A size, or the upper bound of one."""
    return int(size["high"] if isinstance(size, dict) else size)


def largest_list(data: Any) -> list[dict[str, Any]]:
    """The rows of a report: its longest list of dictionaries."""
    lists: Iterable[Any] = data.values() if isinstance(data, dict) else []
    rows = [each for each in lists if isinstance(each, list) and each and all(isinstance(row, dict) for row in each)]
    return max(rows, key=len, default=[])


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as HTML; what is no plain value is written as JSON."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(cell(row.get(name)) for name in names)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def cell(value: Any) -> str:
    """A value as a cell; numbers have a separator between thousands."""
    if value is None:
        return "<td></td>"
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td style="text-align: right">{value:,}</td>'
    shown = value if isinstance(value, str) else json.dumps(value)
    return f"<td>{escape(shown)}</td>"

"""pytest's fixture ``memplan_check``: keeps a plan beside a test, and fails where it grew."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

from ._estimate import export, file_name, run_of
from ._program import keep


def pytest_addoption(parser: Any) -> None:
    group = parser.getgroup("memplan")
    group.addoption("--memplan-update", action="store_true", help="keep the plans of memplan_check as they are now")


@pytest.fixture
def memplan_check(request: Any) -> Callable[..., None]:
    """``memplan_check(model, *inputs, name=None, tolerance=None, **options)`` plans a module of PyTorch on these inputs, or what
    ``memplan plan`` takes, and compares with ``memplan/NAME.yaml`` beside the test. What is not there yet is written, but where ``CI`` is
    set, which fails; ``--memplan-update`` writes all anew.
    """
    folder = Path(request.path).parent / "memplan"

    def check(
        model: Any,
        *inputs: Any,
        name: Optional[str] = None,
        tolerance: Optional[str] = None,
        kwargs: Optional[dict[str, Any]] = None,
        optimizer: Any = None,
        **options: Any,
    ) -> None:
        name = file_name(name or re.sub(r"^test_", "", request.node.name)).rstrip("_")
        taken = snapshot(model, inputs, name, kwargs, optimizer, options)
        compare(folder / f"{name}.yaml", taken, tolerance, request.config.getoption("memplan_update"))

    return check


def snapshot(model: Any, inputs: Any, name: str, kwargs: Any, optimizer: Any, options: dict[str, Any]) -> str:
    """The text of a plan made now. A module is named as its export would be, without the folder of this moment."""
    if isinstance(model, (str, os.PathLike)):
        return keep("snapshot", [model], options if optimizer is None else {**options, "optimizer": optimizer}).text
    with tempfile.TemporaryDirectory(prefix="memplan-") as here:
        path = os.path.join(here, f"{name}.pt2")
        export(model, inputs, kwargs, None, path)
        text = keep("snapshot", [path], run_of(model, optimizer, options)).text
    return re.sub(r"(?m)^(\s*model:) .*\.pt2$", rf"\1 {name}.pt2", text)


def compare(kept: Path, taken: str, tolerance: Optional[str], update: bool) -> None:
    """Writes a plan that is not kept yet, and fails where one that is has grown."""
    shown = os.path.relpath(kept)
    if not update and not kept.exists() and os.environ.get("CI"):
        pytest.fail(f"{shown}: no plan is kept: run pytest with --memplan-update and commit it", pytrace=False)
    if update or not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(taken, encoding="utf-8")
        return
    with tempfile.TemporaryDirectory(prefix="memplan-") as here:
        now = Path(here) / "now.yaml"
        now.write_text(taken, encoding="utf-8")
        said = keep("check", [shown], {"against": now, "tolerance": tolerance})
    if said.code:
        pytest.fail(f"{said.text}pytest --memplan-update accepts it", pytrace=False)

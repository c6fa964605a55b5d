"""The fixture `memplan_check`, in test sessions of its own."""

import sys

import pytest

pytest_plugins = ["pytester"]

TEST = """
def test_gpt2(memplan_check):
    memplan_check("gpt2", batch={batch}, tolerance={tolerance!r})
"""


def session(pytester, monkeypatch, batch, *arguments, tolerance=None, ci=False):
    monkeypatch.setenv("CI", "1") if ci else monkeypatch.delenv("CI", raising=False)
    # files of a second have the same time, and Python would take one for the other
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    pytester.makepyfile(test_it=TEST.format(batch=batch, tolerance=tolerance))
    return pytester.runpytest(*arguments)


def test_a_plan_is_kept_and_compared(pytester, monkeypatch):
    kept = pytester.path / "memplan" / "gpt2.yaml"
    session(pytester, monkeypatch, 2, ci=True).assert_outcomes(failed=1)
    assert not kept.exists()
    session(pytester, monkeypatch, 2).assert_outcomes(passed=1)
    text = kept.read_text()
    assert "batch: 2" in text
    session(pytester, monkeypatch, 2, ci=True).assert_outcomes(passed=1)
    session(pytester, monkeypatch, 1).assert_outcomes(passed=1)

    grown = session(pytester, monkeypatch, 16)
    grown.assert_outcomes(failed=1)
    grown.stdout.fnmatch_lines(["*memplan/gpt2.yaml: grew: *", "*peak allocated*", "*--memplan-update accepts it*"])
    assert kept.read_text() == text
    session(pytester, monkeypatch, 16, tolerance="200%").assert_outcomes(passed=1)

    session(pytester, monkeypatch, 16, "--memplan-update").assert_outcomes(passed=1)
    assert "batch: 16" in kept.read_text()
    session(pytester, monkeypatch, 16).assert_outcomes(passed=1)


MODULE = """
import torch

def test_layer(memplan_check):
    memplan_check(torch.nn.Linear({size}, 64), torch.empty(8, {size}), optimizer=torch.optim.SGD, gpu="t4")
"""


def test_a_module_is_kept_without_the_folder_of_its_export(pytester, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for size, outcome in ((4096, "passed"), (4096, "passed"), (8192, "failed")):
        pytester.makepyfile(test_it=MODULE.format(size=size))
        pytester.runpytest().assert_outcomes(**{outcome: 1})
    text = (pytester.path / "memplan" / "layer.yaml").read_text()
    assert "model: layer.pt2\n" in text and "optimizer: sgd\n" in text and "memplan-" not in text

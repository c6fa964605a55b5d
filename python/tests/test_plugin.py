"""The fixture `memplan_check`, in test sessions of its own."""

pytest_plugins = ["pytester"]

TEST = """
def test_gpt2(memplan_check):
    memplan_check("gpt2", batch={batch}, tolerance={tolerance!r})
"""


def session(pytester, monkeypatch, batch, *arguments, tolerance=None, ci=False):
    monkeypatch.setenv("CI", "1") if ci else monkeypatch.delenv("CI", raising=False)
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

    grown = session(pytester, monkeypatch, 3)
    grown.assert_outcomes(failed=1)
    grown.stdout.fnmatch_lines(["*memplan/gpt2.yaml: grew: *", "*peak allocated*", "*--memplan-update accepts it*"])
    assert kept.read_text() == text
    session(pytester, monkeypatch, 3, tolerance="90%").assert_outcomes(passed=1)

    session(pytester, monkeypatch, 3, "--memplan-update").assert_outcomes(passed=1)
    assert "batch: 3" in kept.read_text()
    session(pytester, monkeypatch, 3).assert_outcomes(passed=1)

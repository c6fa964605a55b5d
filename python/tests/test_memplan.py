"""The module as people use it, without PyTorch. `.ci/wheel` runs it on the installed wheel."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import memplan


def program(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "memplan", *arguments], capture_output=True, text=True, **options)


def test_a_plan_is_that_of_the_program():
    plan = memplan.plan("gpt2", batch=4, seq=512, gpu="rtx4090")
    told = json.loads(program("plan", "gpt2", "--batch", "4", "--seq", "512", "--gpu", "rtx4090", "--format", "json").stdout)
    assert plan.data == told and json.loads(plan.to_json()) == told
    assert plan.fits and plan.peak_reserved >= plan.peak_allocated == told["peak_allocated"]
    assert (plan.phases, plan.at_peak, plan.largest) == (told["phases"], told["at_peak"], told["largest"])
    assert repr(plan).startswith("fits: ") and "\n" not in repr(plan)
    assert plan.text == program("plan", "gpt2", "--batch", "4", "--seq", "512", "--gpu", "rtx4090").stdout


def test_a_plan_is_shown_with_its_timeline(tmp_path):
    shown = memplan.plan("gpt2")._repr_html_()
    assert "<table>" in shown and "<svg " in shown and "peak reserved" in shown
    program("report", "gpt2", "-o", str(tmp_path / "plan.svg"))
    assert (tmp_path / "plan.svg").read_text(encoding="utf-8") in shown


def test_what_does_not_fit_is_no_error():
    plan = memplan.plan("gpt2", capacity="1GiB")
    assert not plan.fits and repr(plan).startswith("does not fit: ")


def test_options_are_flags():
    plain = memplan.plan("gpt2", reentrant=False, clip=None).data
    assert plain == memplan.plan("gpt2").data
    run = memplan.plan("llama-3.2-1b", checkpoint=["model.layers.0", "model.layers.1"], hold_outputs=True, use_cache=False).data["run"]
    assert run["checkpoint"] and run["hold_outputs"] and run["use_cache"] is False
    assert memplan.plan("gpt2", lora={"r": 8, "alpha": 16}).data == memplan.plan("gpt2", lora="r=8,alpha=16").data
    choices = {"r": 8, "targets": ["c_attn", "c_proj"], "modules_to_save": ["wte"], "bias": "all", "use_dora": True}
    words = "r=8,targets=c_attn+c_proj,modules_to_save=wte,bias=all,use_dora=true"
    assert memplan.plan("gpt2", lora=choices).data == memplan.plan("gpt2", lora=words).data
    variables = {"CUBLAS_WORKSPACE_CONFIG": ":16:8", "CUBLASLT_WORKSPACE_SIZE": 1024}
    assert memplan.plan("gpt2", variable=variables).data["run"]["variables"].keys() == variables.keys()


@pytest.mark.parametrize(
    "model, options, words, hint",
    [
        ("gpt3", {}, "gpt3", "`memplan models` lists the built-in ones"),
        ("gpt2", {"bacth": 4}, "unexpected argument '--bacth' found", "'--batch'"),
        ("gpt2", {"reentrant": "yes"}, "'--reentrant'", "--help"),
        ("gpt2", {"gpu": "rtx9999"}, "rtx9999", "`memplan gpus` lists them all"),
    ],
)
def test_errors_are_the_programs(capfd, model, options, words, hint):
    with pytest.raises(memplan.MemplanError) as raised:
        memplan.plan(model, **options)
    assert words in raised.value.args[0] and hint in raised.value.hint and raised.value.code == 2
    assert capfd.readouterr() == ("", "")
    assert isinstance(raised.value, TypeError) == ("bacth" in options)


def test_nothing_is_written_to_the_streams(capfd):
    memplan.sweep("gpt2", batch=[1, 2])
    assert capfd.readouterr() == ("", "")


def test_paths_may_be_of_pathlib(tmp_path):
    run = tmp_path / "run.yaml"
    run.write_text("model: gpt2\nbatch: 2\n")
    assert memplan.plan(run=run).data == memplan.plan("gpt2", batch=2).data
    memplan.plan("gpt2", events=tmp_path / "gpt2.trace")
    assert memplan.fit(tmp_path / "gpt2.trace", gpu="t4").fits


@pytest.mark.parametrize(
    "answer",
    [
        lambda: memplan.fit("bert-base", seq=16, gpu=["t4", "rtx4090"]),
        lambda: memplan.advise("gpt2", capacity="2GiB"),
        lambda: memplan.checkpoint("gpt2", budget="2GiB", granularity="block"),
        lambda: memplan.checkpoint("gpt2", budget="2GiB", granularity="block", emit="torch"),
        lambda: memplan.buy("gpt2", gpu="t4"),
        lambda: memplan.sweep("gpt2", batch=range(1, 3), precision=["fp32", "bf16"]),
        lambda: memplan.diff("gpt2", "distilgpt2", batch=2),
        lambda: memplan.pack("gpt2"),
        lambda: memplan.plan("gpt2", compare=True),
    ],
)
def test_each_command_answers(answer):
    result = answer()
    assert repr(result) == result.text.rstrip("\n") != ""
    assert json.loads(result.to_json()) == result.data
    assert result._repr_html_().startswith("<p") and isinstance(result.fits, bool)


def test_the_program_runs_as_a_shell_runs_it(tmp_path):
    script = Path(sys.executable).with_name("memplan.exe" if os.name == "nt" else "memplan")
    if script.exists():
        assert subprocess.run([script, "plan", "gpt2"], capture_output=True, text=True).stdout == program("plan", "gpt2").stdout
    assert program("plan", "gpt2", "--capacity", "1GiB").returncode == 1
    failed = program("plan", "gpt3")
    assert failed.returncode == 2 and failed.stderr.startswith("memplan: error: ") and failed.stdout == ""
    assert program("--version").stdout.startswith("memplan ")


def test_plans_run_side_by_side():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        peaks = list(pool.map(lambda batch: memplan.plan("gpt2", batch=batch).peak_allocated, [1, 2, 1, 2]))
    assert peaks[0] == peaks[2] < peaks[1] == peaks[3]

"""A run that was stopped, killed, or met by another one goes on, and computes nothing twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Regard, failures, state, written


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Press Ctrl-C when the case begins whose id is put into this list."""
    import regard.runs.explaining as verb

    real, cases = verb.explain_case, []

    def explain_case(*arguments: object, **options: object) -> object:
        if options["case"] in cases:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        return real(*arguments, **options)

    monkeypatch.setattr(verb, "explain_case", explain_case)
    return cases


def test_an_interrupted_run_goes_on(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path, stopping: list[str]
) -> None:
    cases, out = [picture(f"{n}.png", seed=ord(n)) for n in "abc"], tmp_path / "run"
    base = ("explain", model, *cases, "-m", "gradient", "-o", out)
    stopping.append("b")
    assert regard(*base).refused("interrupted", "the same command", code=130)
    assert state(out) == "interrupted"
    assert failures(out) == []
    before = written(out)
    assert len(before) == 3
    stopping.clear()
    assert regard(*base).code == 0
    assert state(out) == "done"
    after = written(out)
    assert len(after) == 9
    assert {k: after[k] for k in before} == before


SLOW = """
import sys, time
import regard.runs.explaining as verb
real = verb.explain_case
def explain_case(*arguments, **options):
    if options["case"] == "b":
        time.sleep(60)
    return real(*arguments, **options)
verb.explain_case = explain_case
from regard.cli import main
main()
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_and_a_second_run_beside_it(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path, sent: signal.Signals
) -> None:
    cases, out = [picture(f"{n}.png", seed=ord(n)) for n in "abc"], tmp_path / "run"
    base = ["explain", str(model), *map(str, cases), "-m", "gradient", "-o", str(out)]
    process = subprocess.Popen([sys.executable, "-c", SLOW, *base], stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(600):
            if (out / "maps" / "a_desc-gradient_relevance.json").exists():
                break
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        before = written(out)
        assert regard(*base).refused(f"process {process.pid}", "in use")
        assert regard(*base, "--overwrite").refused("in use")
        time.sleep(0.3)
        process.send_signal(sent)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    if sent == signal.SIGKILL:
        assert state(out) == "running"
        assert (out / ".regard.lock").exists()
    else:
        assert (process.returncode, state(out)) == (130, "interrupted")
        assert said.startswith("regard: interrupted")
    assert regard(*base).code == 0
    after = written(out)
    assert len(after) == 9
    assert {k: after[k] for k in before} == before
    assert state(out) == "done"

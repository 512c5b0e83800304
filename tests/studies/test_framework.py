"""Configurations, acts, pieces and scores of any study."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from regard.core.errors import CardError, FolderError, InputError, UnknownNameError
from regard.io import RunFolder
from regard.runs.progress import span
from regard.studies import ACTS
from regard.studies.config import Section, StudyConfig, resolve
from regard.studies.progress import Forecast
from regard.studies.run import StudyRun, acts_of, check_source, run_study
from regard.studies.scoring.bootstrap import Score


class _Data(Section):
    n: int = 3
    names: tuple[str, ...] = ("a", "b")


class _Train(Section):
    epochs: int = 2


class _Config(StudyConfig):
    data: _Data = _Data()
    train: _Train = _Train()


SIZES_HERE = {"smoke": _Config(size="smoke", data=_Data(n=1)), "default": _Config()}


class _Study:
    """A study that counts what it does; it dies in the act that it is told to."""

    name = "counting"

    def __init__(self, dies_in: str | None = None) -> None:
        self.dies_in = dies_in
        self.done: list[str] = []

    def _act(self, run: StudyRun) -> dict[str, dict[str, Score]]:
        for k in range(2):
            run.record(f"{run.act}/{k}", lambda k=k: self._made(run.act, k))  # type: ignore[misc]
            if run.act == self.dies_in:
                raise KeyboardInterrupt
        value = float(run.tensors("data/x", lambda: {"x": torch.full((2,), float(run.config.data.n))})["x"].sum())  # type: ignore[attr-defined]
        return {run.act: {"value": Score(value, float("nan"), float("nan"), 0.95, 2, 2, "1")}}

    def _made(self, act: str, k: int) -> dict[str, Any]:
        self.done.append(f"{act}/{k}")
        return {"k": k, "nothing": float("nan")}

    data = train = score = explain = weigh = _act

    def report(self, run: StudyRun, scores: Any) -> None:
        (run.path / "report.html").write_text(str(sorted(scores)))


def _run(study: _Study, path: Path, acts: tuple[str, ...] = ACTS, **more: Any) -> dict[str, Any]:
    config = more.pop("config", SIZES_HERE["default"])
    facts = {"study": "counting", "config": config.model_dump(mode="json")}
    with RunFolder(path, "study", facts) as folder:
        return run_study(study, StudyRun(config, folder, **more), acts)


def test_settings_are_resolved_in_order(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("data: {n: 7}\ntrain: {epochs: 9}\n")
    found = resolve(SIZES_HERE, "smoke", file=file, settings=["train.epochs=11", "data.names=[x]"])
    assert (found.size, found.data.n, found.train.epochs, found.data.names) == ("smoke", 7, 11, ("x",))
    assert resolve(SIZES_HERE, "smoke").data.n == 1


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        (["train.epoch=3"], UnknownNameError, "train.epochs"),
        (["train.epochs=many"], CardError, "train.epochs"),
        (["train.epochs"], CardError, "KEY=VALUE"),
        (["nothing=1"], UnknownNameError, "nothing"),
    ],
)
def test_wrong_settings_are_one_sentence(settings: list[str], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        resolve(SIZES_HERE, "default", settings=settings)
    with pytest.raises(UnknownNameError, match="smoke"):
        resolve(SIZES_HERE, "smok")


def test_a_run_that_died_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    whole = _Study()
    expected = _run(whole, tmp_path / "whole")
    assert whole.done == [f"{a}/{k}" for a in ACTS for k in range(2)]
    for act in ACTS:
        with pytest.raises(KeyboardInterrupt):
            _run(_Study(dies_in=act), tmp_path / act)
        second = _Study()
        assert str(_run(second, tmp_path / act)) == str(expected)
        assert f"{act}/0" not in second.done and f"{act}/1" in second.done
        assert (tmp_path / act / "scores.json").read_bytes() == (tmp_path / "whole" / "scores.json").read_bytes()
    said = json.loads((tmp_path / "whole" / "scores.json").read_text())
    assert said["schema"] == "regard.scores/1" and said["study"] == "counting" and said["size"] == "default"
    assert said["scores"]["data"]["value"] == {
        "value": 6.0, "low": None, "high": None, "level": 0.95, "n": 2, "n_patients": 2, "unit": "1",
    }  # fmt: skip


def test_acts_one_after_the_other_and_from_another_run(tmp_path: Path) -> None:
    first = _Study()
    _run(first, tmp_path / "a", ("data",))
    with pytest.raises(FolderError, match="before train"):
        _run(_Study(), tmp_path / "a", ("score",))
    _run(first, tmp_path / "a", ("train",))
    assert first.done == ["data/0", "data/1", "train/0", "train/1"]
    second = _Study()
    scores = _run(second, tmp_path / "b", ("score",), source=tmp_path / "a")
    assert second.done == ["score/0", "score/1"] and set(scores) == {"data", "train", "score"}
    # What the other run made of an act that is run here may have been made with other settings.
    whole, third = _Study(), _Study()
    _run(whole, tmp_path / "whole")
    _run(third, tmp_path / "c", ("score",), source=tmp_path / "whole")
    assert third.done == ["score/0", "score/1"]
    config = SIZES_HERE["default"]
    check_source("counting", config, tmp_path / "a", ("score",))
    other = resolve(SIZES_HERE, "default", settings=["train.epochs=5"])
    with pytest.raises(FolderError, match=r"train \(epochs\)"):
        check_source("counting", other, tmp_path / "a", ("score",))
    check_source("counting", other, tmp_path / "a", ("train", "score"))
    with pytest.raises(FolderError, match="a run of counting"):
        check_source("bmd", config, tmp_path / "a", ("score",))


def test_a_broken_piece_is_made_again(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "r", "study", {}) as folder:
        run = StudyRun(SIZES_HERE["default"], folder)
        run.tensors("x", lambda: {"x": torch.ones(3)})
        (tmp_path / "r/checkpoints/x.safetensors").write_bytes(b"half")
        assert run.tensors("x", lambda: {"x": torch.zeros(3)})["x"].sum() == 0
        run.record("y", lambda: {"y": 1})
        (tmp_path / "r/checkpoints/y.json").write_text("{")
        assert run.record("y", lambda: {"y": 2}) == {"y": 2}


def test_acts_are_read_in_their_order() -> None:
    assert acts_of("train, data") == ("data", "train")
    assert acts_of(None) == ACTS
    with pytest.raises(InputError, match="data, train"):
        acts_of("fit")


def test_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    forecast = Forecast({"data": 0.2, "train": 0.6, "score": 0.2}, ["data", "train"])
    assert forecast.left is None
    clock[0] = 10.0
    forecast.update("data", 1, 1)
    assert forecast.left == pytest.approx(30.0)
    clock[0] = 25.0
    forecast.update("train", 1, 2)
    assert forecast.left == pytest.approx(15.0)
    assert str(forecast) == "25 s gone, about 15 s to go"
    assert (span(40), span(200), span(7300)) == ("40 s", "3 min", "2 h 2 min")

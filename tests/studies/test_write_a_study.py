"""The study of the page that tells how to write one: as printed, short, resumable, and its truth found."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from regard.io import RunFolder
from regard.studies.config import resolve
from regard.studies.run import StudyRun, run_study

PAGE = Path(__file__).parents[2] / "docs/how-to/write-a-study.md"
BLOCK = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[0]


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    found: dict[str, Any] = {"__name__": "page"}
    exec(compile(BLOCK, str(PAGE), "exec"), found)
    return found


def _run(names: dict[str, Any], path: Path, acts: tuple[str, ...]) -> dict[str, Any]:
    study = names["Discs"]()
    config = resolve(study.sizes, "smoke")
    with RunFolder(path, "study", {"study": study.name, "config": config.model_dump(mode="json")}) as folder:
        return run_study(study, StudyRun(config, folder), acts)


def test_it_is_short() -> None:
    assert len(BLOCK.splitlines()) < 80


def test_it_runs_act_by_act_to_scores_evidence_and_a_page(names: dict[str, Any], tmp_path: Path) -> None:
    for act in ("data", "train", "score", "explain", "weigh"):
        scores = _run(names, tmp_path / "run", (act,))
    assert scores["ridge"]["mae"].value < scores["floor_one_half"]["mae"].value
    assert {"map_input-x-gradient", "map_gradient"} <= set(scores)
    verdicts = json.loads((tmp_path / "run/evidence.json").read_text())["verdicts"]
    assert set(verdicts) == {"input-x-gradient", "gradient"}
    page = (tmp_path / "run/report.html").read_text()
    assert "average-precision" in page and "discs of 40 patients" in page and "floor one half" in page
    again = {p: p.read_bytes() for p in (tmp_path / "run").glob("*.json")}
    _run(names, tmp_path / "run", ("weigh",))
    assert again == {p: p.read_bytes() for p in (tmp_path / "run").glob("*.json")}


def test_its_model_truth_is_the_disc(names: dict[str, Any], tmp_path: Path) -> None:
    study = names["Discs"]()
    with RunFolder(tmp_path / "run", "study", {}) as folder:
        truth = study.gather(StudyRun(resolve(study.sizes, "smoke"), folder)).known(0).model_truth
    disc, square = torch.zeros(16, 16, dtype=torch.bool), torch.zeros(16, 16, dtype=torch.bool)
    disc[3:8, 3:8] = True
    square[10:14, 9:13] = True
    assert torch.equal(truth.core, disc)
    assert torch.equal(truth.decoy, square)

"""``regard attack``: what it writes, what it refuses, and how it goes on."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from command_line import Regard

from regard import runs

QUICK = ("--steps", "4", "--restarts", "1")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "attacks.tsv").open(newline="") as stream:
        return list(csv.DictReader(stream, dialect="excel-tab"))


def test_images_maps_table_and_page(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = regard("attack", model, picture("a.png"), picture("b.png", seed=1), "-m", "input-x-gradient", "-m",
                  "grad-ram", "--goal", "keep-change", "--budget", "2,8", *QUICK, "-o", out)  # fmt: skip
    assert said.code == 0, said.err
    table = rows(out)
    attacks = [r for r in table if r["kind"] == "attack"]
    # Two cases, two budgets, two attacked methods, each seen by both.
    assert len(attacks) == 16
    assert {(r["attacked"], r["method"]) for r in attacks} == {
        (a, m) for a in ("input-x-gradient", "grad-ram") for m in ("input-x-gradient", "grad-ram")
    }  # fmt: skip
    # Gaussian noise is as long as the attack in L2, so that single voxels of it go further.
    assert all(float(r["linf"]) <= float(r["budget"]) * (1 + 1e-6) for r in table if r["kind"] != "Gaussian noise")
    assert {r["unit"] for r in table} == {"grey level"}
    assert {r["kind"] for r in table} >= {"attack", "sign noise", "blur", "flipped attack"}
    stem = "a_desc-gradram_goal-keepchange_budget-2"
    image = nibabel.load(out / "attacked" / f"{stem}_image.nii.gz")
    scan = nibabel.load(out / "maps" / "a_desc-gradram_relevance.nii.gz")
    assert image.shape == scan.shape == nibabel.load(out / "attacked" / f"{stem}_relevance.nii.gz").shape
    page = (out / "report.html").read_text()
    assert "How often it succeeds" in page
    assert "the prediction counts as kept within" in page
    assert (out / "figures" / "a_desc-gradram_attacked.png").exists()
    assert yaml.safe_load((out / "run.yaml").read_text())["state"] == "done"
    scores = json.loads((out / "scores.json").read_text())["scores"]
    assert scores["attack on grad-ram seen by input-x-gradient"]["success at 8 grey level"]["n"] == 2
    assert "budget 8 grey level: keep-change of grad-ram, seen by input-x-gradient:" in said.out


def test_the_change_is_within_its_budget_on_the_scan_s_own_grid(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path
) -> None:
    """A picture of the network's own size: what is written is the scan and a change of at most the budget."""
    from regard.io import read

    scan, out = picture("a.png"), tmp_path / "run"
    assert (
        regard(
            "attack", model, scan, "-m", "gradient", "--goal", "change-keep", "--budget", "3", *QUICK, "-o", out
        ).code
        == 0
    )
    attacked = read(out / "attacked" / "a_desc-gradient_goal-changekeep_budget-1_image.nii.gz")
    change = (attacked.tensor - read(scan).tensor).abs()
    assert 0 < float(change.max()) <= 3 + 1e-4


def test_the_same_command_goes_on_and_another_is_refused(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    words = (
        "attack",
        model,
        picture("a.png"),
        "-m",
        "gradient",
        "--goal",
        "keep-change",
        "--budget",
        "2",
        *QUICK,
        "-o",
        out,
    )
    assert regard(*words).code == 0
    first = rows(out)
    monkeypatch.setattr("regard.runs.attacking.attack_case", None)  # nothing is attacked again
    assert regard(*words).code == 0
    assert rows(out) == first
    refused = regard(*words[:-2], "--norm", "2", "-o", out)
    assert refused.code == 2


def test_an_image_that_has_changed_is_named(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    words = ("-m", "gradient", "--goal", "keep-change", "--budget", "2", *QUICK, "-o", tmp_path / "run")
    assert regard("attack", model, picture("a.png"), *words).code == 0
    said = regard("attack", model, picture("a.png", seed=5), *words)
    assert said.code == 2
    assert "'a'" in said.err


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (("-m", "gradient", "--goal", "keep", "--budget", "2"), "the goal 'keep'"),
        (("-m", "gradient", "--goal", "keep-change", "--budget", "two"), "--budget two"),
        (("-m", "gradient", "--goal", "keep-change", "--budget", "0"), "numbers above 0"),
        (("-m", "gradient", "--goal", "keep-change", "--budget", "2", "--norm", "1"), "the norm '1'"),
        (("-m", "occlusion", "--goal", "keep-change", "--budget", "2"), "--surrogate"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path, extra: tuple[str, ...], words: str
) -> None:
    said = regard("attack", model, picture("a.png"), *extra, "-o", tmp_path / "run")
    assert said.code == 2
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_a_method_without_gradients_is_attacked_through_another(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    methods = ("-m", "occlusion:window=4,stride=4", "--surrogate", "input-x-gradient")
    said = regard(
        "attack", model, picture("a.png"), *methods, "--goal", "keep-change", "--budget", "4", *QUICK, "-o", out
    )
    assert said.code == 0, said.err
    (attack,) = [r for r in rows(out) if r["kind"] == "attack"]
    assert (attack["attacked"], attack["method"], attack["followed"]) == ("occlusion", "occlusion", "input-x-gradient")


def test_one_bad_case_costs_the_others_nothing(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    said = regard("attack", model, picture("a.png"), broken, "-m", "gradient", "--goal", "keep-change", "--budget", "2",
                  *QUICK, "-o", tmp_path / "run")  # fmt: skip
    assert said.code == 3
    assert "failed: 1" in said.out


def test_from_python(model: Path, picture: Callable, tmp_path: Path) -> None:
    request = runs.AttackRequest(
        model=model, paths=picture("a.png"), methods="gradient", goal="keep-change", budget=2, steps=3, restarts=1,
        tolerance=0.5, output=tmp_path / "run",
    )  # fmt: skip
    found = runs.attack(request)
    assert set(found.table()["kind"]) >= {"attack", "sign noise"}
    assert not any("kept within" in w for w in found.warnings), "a tolerance was given"
    assert found.report is not None
    assert np.isfinite([r["spearman"] for r in found.attacks]).all()

"""``regard weigh`` on finished runs: what it writes, what it refuses, and how it goes on."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml
from command_line import Regard
from safetensors.torch import load_file, save_file

from regard.core.quantity import Quantity
from regard.evidence.stored import carry
from regard.io import find_cases, read
from regard.models import load_model
from regard.models.case import prepare_case
from regard.models.zoo import ZOO
from regard.runs import weighing

COLUMNS = [
    *("case", "group", "method", "target", "measure", "control", "value", "low", "high", "n", "n_patients", "unit"),
    *("direction", "null_mean", "p", "p_adjusted"),
]


def evidence(folder: Path) -> list[dict[str, str]]:
    with (folder / "evidence.tsv").open(newline="") as stream:
        return list(csv.DictReader(stream, dialect="excel-tab"))


@pytest.fixture
def explained(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> Path:
    """A run of three cases of two patients, named by a table."""
    rows = ["case\timage\tpatient\tsex\ttruth"]
    mask = np.zeros((16, 16, 1), dtype=np.float32)
    mask[4:9, 4:9] = 1
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / "mask.nii.gz")
    for n in range(3):
        picture(f"s{n}.png", seed=n)
        rows.append(f"c{n}\ts{n}.png\tp{n // 2}\t{'FM'[n % 2]}\tmask.nii.gz")
    (tmp_path / "cases.tsv").write_text("\n".join(rows) + "\n")
    out = tmp_path / "run"
    said = regard("explain", model, tmp_path / "cases.tsv", "-m", "gradient", "-m", "grad-ram", "-o", out, "-q")
    assert said.code == 0, said.err
    return out


def test_weighing_writes_evidence_verdicts_and_report_and_nothing_else(regard: Regard, explained: Path) -> None:
    before = {p.relative_to(explained) for p in explained.rglob("*")}
    maps = {p: p.read_bytes() for p in (explained / "maps").glob("*.nii.gz")}
    said = regard("weigh", explained, "--truth", "truth", "--by", "sex", "--n-null", 9, "--json")
    assert said.code == 0, said.err
    assert "about" in said.err

    after = {p.relative_to(explained) for p in explained.rglob("*")}
    assert {str(p) for p in after - before} == {"evidence.tsv", "evidence.json", "weigh.yaml"}
    assert all(p.read_bytes() == content for p, content in maps.items())
    record = yaml.safe_load((explained / "weigh.yaml").read_text())
    assert (record["schema"], record["state"], record["verb"]) == ("regard.weigh/1", "done", "weigh")

    found = json.loads((explained / "evidence.json").read_text())
    assert found["schema"] == "regard.evidence/1"
    assert set(found["verdicts"]) == {"gradient", "grad-ram"}
    assert json.loads(said.out)["verdicts"] == found["verdicts"]
    for method, verdict in found["verdicts"].items():
        assert verdict["verdict"] in ("supported", "not supported", "undetermined")
        assert verdict["scope"] == "for 2 patients and 1 network"
        for path in (explained / "maps").glob(f"*desc-{method.replace('-', '')}_relevance.json"):
            assert json.loads(path.read_text())["verdict"] == verdict["verdict"]

    rows = evidence(explained)
    assert list(rows[0])[: len(COLUMNS)] == COLUMNS
    own = [
        r for r in rows if r["control"] == "n/a" and r["measure"] == "average-precision" and r["method"] == "gradient"
    ]
    assert {(r["case"], r["group"], r["n"], r["n_patients"]) for r in own} == {
        ("*", "*", "3", "2"), ("*", "sex=F", "2", "2"), ("*", "sex=M", "1", "1"),
        ("c0", "*", "1", "1"), ("c1", "*", "1", "1"), ("c2", "*", "1", "1"),
    }  # fmt: skip
    assert {"surrogate", "edges", "image", "centred gaussian", "displaced", "other patient", "cohort mean",
            "randomised network", "random-cam"} <= {r["control"] for r in rows}  # fmt: skip
    by_case = {r["case"]: float(r["value"]) for r in own if r["group"] == "*"}
    patients = [(by_case["c0"] + by_case["c1"]) / 2, by_case["c2"]]
    assert by_case["*"] == pytest.approx(sum(patients) / 2)
    assert "not weighed" not in (explained / "report.html").read_text().split("<script")[0].lower()


def test_the_same_again_says_the_same_at_once_and_another_is_refused(
    regard: Regard, explained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = regard("weigh", explained, "--n-null", 9, "-q")
    assert first.code == 0, first.err
    monkeypatch.setattr(weighing, "weigh_case", None)
    assert regard("weigh", explained, "--n-null", 9, "-q").out == first.out
    other = regard("weigh", explained, "--n-null", 10, "-q")
    assert other.code == 2
    assert "--overwrite" in other.err


def test_an_interrupted_weighing_goes_on(regard: Regard, explained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = weighing.weigh_case
    calls: list[str] = []

    def stops(exhibits, *args, **kwargs):
        calls.append(next(iter(exhibits.values())).case)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(exhibits, *args, **kwargs)

    monkeypatch.setattr(weighing, "weigh_case", stops)
    assert regard("weigh", explained, "--n-null", 9, "-q").code == 130
    assert yaml.safe_load((explained / "weigh.yaml").read_text())["state"] == "interrupted"
    assert regard("weigh", explained, "--n-null", 9, "-q").code == 0
    assert calls == ["c0", "c1", "c1", "c2"]
    again = explained / "evidence.tsv"
    resumed = again.read_text()
    assert regard("weigh", explained, "--n-null", 9, "-q", "--overwrite").code == 0
    assert again.read_text() == resumed
    assert not (explained / "checkpoints").exists()


def test_a_case_that_fails_does_not_cost_the_others(regard: Regard, explained: Path, picture: Callable) -> None:
    picture("s1.png", seed=9)
    said = regard("weigh", explained, "--n-null", 9, "-q")
    assert said.code == 3
    failed = (explained / "failures.tsv").read_text()
    assert "c1\tweigh\tFileError" in failed
    assert {r["case"] for r in evidence(explained)} == {"*", "c0", "c2"}
    assert json.loads((explained / "maps" / "c1_desc-gradient_relevance.json").read_text())["verdict"] is None


def test_one_case_is_said_of_this_image_only(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    out = tmp_path / "one"
    assert regard("explain", model, picture(), "-m", "gradient", "-o", out, "-q").code == 0
    (tmp_path / "boxes.tsv").write_text("case\tx\ty\tw\th\nscan\t2\t3\t4\t5\n")
    said = regard("weigh", out, "--boxes", tmp_path / "boxes.tsv", "--measure", "relevance-mass", "-q")
    assert said.code == 0, said.err
    assert "undetermined (for this image only)" in said.out
    assert "was not measured" in said.out
    mass = [r for r in evidence(out) if r["measure"] == "relevance-mass"]
    relevance = nibabel.load(out / "maps" / "scan_desc-gradient_relevance.nii.gz").get_fdata()[..., 0]
    inside = np.abs(relevance[2:6, 3:8]).sum() / np.abs(relevance).sum()
    assert float(mass[0]["value"]) == pytest.approx(inside, rel=1e-4)
    assert {r["unit"] for r in mass} == {"1"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--truth", "nowhere"], "the column 'nowhere'"),
        (["--measure", "deletio"], "did you mean deletion"),
        (["--truth", "truth", "--boxes", "boxes.tsv"], "both --truth and --boxes"),
        (["--by", "scanner"], "expected one of"),
    ],
)
def test_mistakes_are_one_sentence(regard: Regard, explained: Path, arguments: list[str], sentence: str) -> None:
    said = regard("weigh", explained, *arguments)
    assert said.code == 2
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert not (explained / "weigh.yaml").exists()


def test_other_weights_are_refused(regard: Regard, explained: Path, model: Path) -> None:
    state = load_file(model / "weights.safetensors")
    save_file({k: v + 1 for k, v in state.items()}, model / "weights.safetensors")
    said = regard("weigh", explained)
    assert said.code == 2
    assert "the network that was explained" in said.err


def test_only_finished_runs_of_explain(regard: Regard, explained: Path, tmp_path: Path) -> None:
    assert "no run.yaml" in regard("weigh", tmp_path).err
    record = yaml.safe_load((explained / "run.yaml").read_text())
    (explained / "run.yaml").write_text(yaml.safe_dump({**record, "state": "interrupted"}))
    assert "finish it" in regard("weigh", explained).err
    (explained / "run.yaml").write_text(yaml.safe_dump({**record, "verb": "demo"}))
    said = regard("weigh", explained)
    assert (said.code, "regard explain" in said.err) == (2, True)


def test_a_contribution_comes_back_to_the_networks_grid(
    regard: Regard, model_3d: Path, nifti: Callable, tmp_path: Path
) -> None:
    scan, out = nifti(), tmp_path / "run3d"
    assert regard("explain", model_3d, scan, "-m", "input-x-gradient", "-o", out, "-q").code == 0
    (case,) = find_cases([scan])
    prepared = prepare_case(load_model(model_3d), {"image": read(scan)})
    stored = read(out / "maps" / f"{case.case}_desc-inputxgradient_relevance.nii.gz")
    relevance, unseen = carry(stored, Quantity.CONTRIBUTION, prepared.parts[0])
    assert relevance.shape == (1, 1, 16, 16, 8)
    assert 0 <= unseen < 1
    kept = float(np.nansum(stored.tensor.double()))
    # Without the ratio of the voxel sizes it would be 4 % off.
    assert float(relevance.double().sum()) == pytest.approx(kept, rel=0.02)


def test_a_run_is_weighed_from_another_folder_than_it_was_made_in(
    regard: Regard, write_model: Callable, picture: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table, the target's region and the reference were named by relative paths."""
    model = write_model(
        "unet", zoo="monai-unet", kwargs={"spatial_dims": 2, "widths": [2, 3]},
        output={"kind": "image", "names": ["image"], "units": ["grey level"]},
    )  # fmt: skip
    save_file(dict(ZOO.load("monai-unet")(2, widths=[2, 3]).state_dict()), model / "weights.safetensors")
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    picture("here/s0.png", seed=0)
    picture("here/ref.png", seed=5)
    mask = np.zeros((16, 16, 1), dtype=np.float32)
    mask[4:9, 4:9] = 1
    nibabel.save(nibabel.Nifti1Image(mask, np.diag([-1.0, -1.0, 1.0, 1.0])), here / "mask.nii.gz")
    (here / "boxes.tsv").write_text("x\ty\tw\th\n4\t4\t5\t5\n")
    (here / "cases.tsv").write_text("case\timage\ttruth\tboxes\tsite\nc0\ts0.png\tmask.nii.gz\tboxes.tsv\tA\n")
    monkeypatch.chdir(here)
    asked = ["-t", "mean:mask.nii.gz", "--reference", "ref.png", "-m", "integrated-gradients:n_steps=4"]
    assert regard("explain", model, "cases.tsv", *asked, "-o", there / "run", "-q").code == 0
    monkeypatch.chdir(there)
    record = yaml.safe_load((there / "run" / "run.yaml").read_text())
    assert record["tables"] == [str(here / "cases.tsv")]
    assert record["target"] == f"mean:{here / 'mask.nii.gz'}"
    said = regard("weigh", "run", "--truth", "truth", "--by", "site", "--n-null", 9, "-q")
    assert said.code == 0, said.err
    by_mask = {r["control"]: r["value"] for r in evidence(there / "run") if r["measure"] == "average-precision"}
    assert {r["group"] for r in evidence(there / "run")} == {"*", "site=A"}
    # The same place, given as the table's boxes.
    assert regard("weigh", "run", "--boxes", "boxes", "--n-null", 9, "-q", "--overwrite").code == 0
    by_boxes = {r["control"]: r["value"] for r in evidence(there / "run") if r["measure"] == "average-precision"}
    assert by_boxes == by_mask
    assert float(by_mask["n/a"]) > 0
    (here / "cases.tsv").rename(there / "moved.tsv")
    lost = regard("weigh", "run", "--by", "site", "--n-null", 9, "--overwrite")
    assert (lost.code, "--table" in lost.err) == (2, True)


TWO_INPUTS = """
import torch
from torch import nn


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = (nn.Conv2d(1, 2, 3, padding=1) for _ in range(2))

    def forward(self, early, late):
        return (self.first(early).relu().mean((1, 2, 3)) - self.second(late).relu().mean((1, 2, 3)))[:, None]


def build():
    torch.manual_seed(4)
    return Both()
"""


def test_several_inputs_of_a_case_are_weighed_one_map_each(
    regard: Regard, write_model: Callable, picture: Callable, tmp_path: Path
) -> None:
    spec = {"orientation": "PL", "shape": [16, 16], "unit": "grey level", "channels": 1}
    model = write_model(
        "two", zoo=..., kwargs={}, factory="network.py:build", layer="first",
        inputs=[{"name": "early", **spec}, {"name": "late", **spec}],
    )  # fmt: skip
    (model / "network.py").write_text(TWO_INPUTS)
    built: dict[str, Any] = {}
    exec(TWO_INPUTS, built)
    save_file(dict(built["build"]().state_dict()), model / "weights.safetensors")
    rows = ["case\timage_early\timage_late\tpatient"]
    for n in range(2):
        picture(f"e{n}.png", seed=n)
        picture(f"l{n}.png", seed=10 + n)
        rows.append(f"c{n}\te{n}.png\tl{n}.png\tp{n}")
    (tmp_path / "cases.tsv").write_text("\n".join(rows) + "\n")
    out = tmp_path / "run"
    said = regard("explain", model, tmp_path / "cases.tsv", "--trust", "-m", "input-x-gradient", "-o", out, "-q")
    assert said.code == 0, said.err
    said = regard("weigh", out, "--trust", "--n-null", 9, "-q")
    assert said.code == 0, said.err
    rows = evidence(out)
    assert {r["method"] for r in rows} == {"input-x-gradient (early)", "input-x-gradient (late)"}
    own = {r["method"]: float(r["value"]) for r in rows if r["control"] == "n/a" and r["measure"] == "deletion"}
    assert own["input-x-gradient (early)"] != own["input-x-gradient (late)"]
    for name in ("early", "late"):
        sidecar = json.loads((out / "maps" / f"c0_input-{name}_desc-inputxgradient_relevance.json").read_text())
        assert sidecar["verdict"] in ("supported", "not supported", "undetermined")

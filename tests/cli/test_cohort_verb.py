"""``regard cohort``: what it writes, what it refuses, and that it goes on."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from command_line import Regard, failures, state
from PIL import Image

REGIONS = [
    "region",
    "index",
    "method",
    "contrast",
    "group",
    "mean",
    "sum",
    "positive",
    "negative",
    "share",
    "density",
    "low",
    "high",
    "t",
    "p_maxT",
    "n",
    "unit",
    "space",
    "test",
]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, dialect="excel-tab"))


@pytest.fixture
def table(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    """Twelve pictures of ten patients."""
    lines = ["case\timage\tpatient\tlabel\tsex\tage"]
    for n in range(12):
        picture(f"pictures/{n}.png", seed=n)
        lines.append(f"c{n:02d}\tpictures/{n}.png\tp{n % 10}\t{n / 10}\t{'FM'[n % 2]}\t{40 + n}")
    path = tmp_path / "table.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def atlas(tmp_path: Path) -> Path:
    """Four quarters of the pictures, in their pixels."""
    labels = np.zeros((16, 16, 1), np.uint8)
    labels[:8, :8], labels[8:, :8], labels[:8, 8:], labels[8:, 8:] = 1, 2, 3, 4
    path = tmp_path / "atlas.nii.gz"
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([-1.0, -1, 1, 1])), path)
    (tmp_path / "names.tsv").write_text("index\tname\n1\tupper left\n2\tupper right\n3\tlower left\n4\tlower right\n")
    return path


def test_everything_is_written(regard: Regard, model: Path, table: Path, atlas: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = regard(
        "cohort", model, table, "-m", "gradient", "-m", "occlusion:window=4,stride=4@hidden", "--atlas", atlas,
        "--atlas-table", tmp_path / "names.tsv", "--groups", "sex", "--covariate", "age", "-o", out, "--json",
    )  # fmt: skip
    assert said.code == 0, said
    assert (said.json["done"], said.json["failed"]) == (12, [])
    assert said.json["predictions"]["n_patients"] == 10
    assert state(out) == "done"
    found = rows(out / "regions.tsv")
    assert tuple(found[0]) == tuple(REGIONS)
    assert {(r["contrast"], r["group"]) for r in found} == {
        ("weight-randomised network", "*"), ("weight-randomised network", "sex = F"),
        ("weight-randomised network", "sex = M"), ("sex: M - F", "*"), ("age", "*"),
    }  # fmt: skip
    assert {r["method"] for r in found} == {"gradient", "hidden"}
    assert {r["region"] for r in found} == {"upper left", "upper right", "lower left", "lower right"}
    first = found[0]
    assert first["sum"] == "n/a"  # a sensitivity does not add up
    assert float(first["low"]) < float(first["density"]) < float(first["high"])
    assert (first["n"], first["space"]) == ("10", "scan")
    shares = [float(r["share"]) for r in found[:4]]
    assert sum(shares) == pytest.approx(1)
    assert len(rows(out / "subjects.tsv")) == 12 * 2 * 4
    predictions = rows(out / "predictions.tsv")
    assert [r["case"] for r in predictions] == [f"c{n:02d}" for n in range(12)]
    for stem in ("desc-gradient", "desc-hidden"):
        mean, spread = (
            np.asarray(nibabel.load(out / f"population/{stem}_{w}.nii.gz").dataobj) for w in ("mean", "std")
        )
        assert mean.shape == spread.shape == (16, 16, 1)
        assert (out / "population" / f"{stem}_t.nii.gz").exists()
    assert "weight-randomised" in (out / "population" / "desc-gradient.json").read_text()
    assert (out / "maps.zarr" / "gradient" / "zarr.json").exists()
    assert (out / "maps.zarr" / "gradient.null" / "zarr.json").exists()
    page = (out / "report.html").read_text()
    assert "upper left" in page
    assert "a network that learned nothing has places of its own" in page
    assert "<script" not in page
    assert {p.name for p in (out / "figures").iterdir()} == {
        "desc-gradient_slices.png", "desc-hidden_slices.png", "desc-gradient_regions.png", "desc-hidden_regions.png",
        "predictions.png",
    }  # fmt: skip


def test_the_pattern_of_the_prediction(regard: Regard, model: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = regard("cohort", model, table, "-m", "gradient", "--pattern", "--maps", "none", "-o", out)
    assert said.code == 0, said
    found = np.asarray(nibabel.load(out / "population/desc-pattern_slope.nii.gz").dataobj)
    readings = np.array([float(r["prediction"]) for r in rows(out / "predictions.tsv")])
    pictures = [np.asarray(Image.open(tmp_path / f"pictures/{n}.png")).astype(float) for n in range(12)]
    values = np.array([p[3, 5] for p in pictures])
    assert found.shape == (16, 16, 1)
    assert found[5, 3, 0] == pytest.approx(np.polyfit(readings, values, 1)[0], rel=1e-2)
    assert "says nothing of which of these places" in (out / "report.html").read_text()
    assert (out / "figures/desc-pattern_slices.png").exists()
    assert "cov(x, f)" in (out / "population/desc-pattern.json").read_text()
    # Another question in the same folder is refused.
    assert regard("cohort", model, table, "-m", "gradient", "--maps", "none", "-o", out).code == 2


def test_the_mean_is_that_of_single_maps(regard: Regard, model: Path, table: Path, tmp_path: Path) -> None:
    out, single = tmp_path / "out", tmp_path / "single"
    assert regard("cohort", model, table, "-m", "gradient", "--maps", "none", "-o", out).code == 0
    assert regard("explain", model, table, "-m", "gradient", "-o", single, "--threads", "1").code == 0
    saved = sorted(p for p in (single / "maps").glob("*_relevance.nii.gz") if "_space-network_" not in p.name)
    maps = [np.asarray(nibabel.load(p).dataobj) for p in saved]
    found = np.asarray(nibabel.load(out / "population/desc-gradient_mean.nii.gz").dataobj)
    np.testing.assert_allclose(found, np.mean(maps, 0), rtol=1e-5, atol=1e-9)
    t = np.asarray(nibabel.load(out / "population/desc-gradient_t.nii.gz").dataobj)
    np.testing.assert_allclose(t, np.mean(maps, 0) / np.std(maps, 0, ddof=1) * np.sqrt(12), rtol=1e-4)
    assert not (out / "maps.zarr").exists()
    assert not (out / "regions.tsv").exists()


def test_a_poisoned_file_is_a_row_and_costs_no_other(
    regard: Regard, model: Path, table: Path, tmp_path: Path, picture: Callable[..., Path]
) -> None:
    out, base = tmp_path / "out", ("cohort", model, table, "-m", "gradient", "-o")
    assert regard(*base, tmp_path / "whole").code == 0
    bad = tmp_path / "pictures" / "5.png"
    good = bad.read_bytes()
    bad.write_bytes(good[:40])
    said = regard(*base, out)
    assert said.code == 3
    assert "failed: 1" in said.out
    assert state(out) == "some_failed"
    assert [(r["case"], r["stage"], r["error_type"]) for r in failures(out)] == [("c05", "cohort", "FileError")]
    assert len(rows(out / "predictions.tsv")) == 11
    bad.write_bytes(good)
    assert regard(*base, out).code == 0
    assert failures(out) == []
    for name in ("population/desc-gradient_mean.nii.gz", "population/desc-gradient_t.nii.gz", "predictions.tsv"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_images_of_several_sizes_need_a_template(
    regard: Regard, model: Path, table: Path, tmp_path: Path, picture: Callable[..., Path]
) -> None:
    picture("pictures/1.png", seed=1, shape=(20, 18))
    base = ("cohort", model, table, "-m", "input-x-gradient")
    assert regard(*base, "-o", tmp_path / "a").refused("(16, 16, 1) and (18, 20, 1)", "--template")
    said = regard(*base, "-o", tmp_path / "b", "--template", tmp_path / "pictures" / "0.png")
    assert said.code == 0, said
    # One that differs later is a row.
    picture("pictures/1.png", seed=1)
    picture("pictures/9.png", seed=9, shape=(8, 8))
    assert regard(*base, "-o", tmp_path / "c").code == 3
    assert "--template" in failures(tmp_path / "c")[0]["message"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--maps", "some"), ("--maps some", "all or none")),
        (("--null", "zero"), ("--null zero",)),
        (("--workers", "2", "--scheduler", "tcp://a:1"), ("one of them",)),
        (("--warp", "field"), ("--template",)),
        (("--atlas-table", "names.tsv"), ("--atlas",)),
        (("--groups", "sex"), ("--atlas",)),
        (("--atlas", "ATLAS", "--groups", "sexe"), ("column 'sexe'",)),
        (("--atlas", "ATLAS", "--groups", "single"), ("column 'single'",)),
        (("--reference", "nothing.png"), ("column 'nothing.png'",)),
        (("--voxelwise", "max-t"), ("--groups or --covariate",)),
        (("--voxelwise", "all"), ("max-t or tfce",)),
        (("--voxelwise", "tfce", "--groups", "sex", "--maps", "none"), ("--maps none",)),
    ],
)
def test_what_cannot_be_done_is_said_at_once(
    regard: Regard,
    model: Path,
    table: Path,
    atlas: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    given = [str(atlas) if o == "ATLAS" else o for o in options]
    assert regard("cohort", model, table, "-m", "gradient", *given, "-o", tmp_path / "out").refused(*words)
    assert not (tmp_path / "out").exists()


def test_an_atlas_in_another_space_is_a_warning_that_names_both(
    regard: Regard, model_3d: Path, nifti: Callable[..., Path], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    affine = np.diag([4.0, 4, 6, 1])
    for n in range(3):
        nifti(f"sub-{n}.nii.gz", values=rng.normal(size=(16, 16, 8)), affine=affine)
    lines = ["case\timage", *(f"s{n}\tsub-{n}.nii.gz" for n in range(3))]
    (tmp_path / "t.tsv").write_text("\n".join(lines))
    template = nifti("tpl-MNI152NLin2009cAsym_T1w.nii.gz", values=rng.normal(size=(12, 12, 10)), affine=affine)
    labels = np.ones((16, 16, 8), np.uint8)
    nibabel.save(nibabel.Nifti1Image(labels, affine), tmp_path / "lab_MNI152NLin6Asym.nii.gz")
    said = regard(
        "cohort", model_3d, tmp_path / "t.tsv", "-m", "input-x-gradient", "--template", template, "--atlas",
        tmp_path / "lab_MNI152NLin6Asym.nii.gz", "--null", "surrogate", "-o", tmp_path / "out",
    )  # fmt: skip
    assert said.code == 0, said
    warning = next(line for line in said.out.splitlines() if line.startswith("warning: "))
    assert "MNI152NLin6Asym" in warning
    assert "MNI152NLin2009cAsym" in warning
    assert "MNI152NLin6Asym" in (tmp_path / "out" / "report.html").read_text()
    found = rows(tmp_path / "out" / "regions.tsv")
    assert found[0]["space"] == "MNI152NLin2009cAsym"
    assert found[0]["low"] == "n/a"  # three patients: values, and no interval


def test_another_configuration_is_refused_and_the_same_goes_on(
    regard: Regard, model: Path, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert regard("cohort", model, table, "-m", "gradient", "-o", out).code == 0
    before = {p.name: p.stat().st_mtime_ns for p in (out / "checkpoints").iterdir()}
    assert regard("cohort", model, table, "-m", "gradient", "-o", out).code == 0
    assert {p.name: p.stat().st_mtime_ns for p in (out / "checkpoints").iterdir()} == before
    assert regard("cohort", model, table, "-m", "gradient", "--seed", "1", "-o", out).refused("another configuration")
    assert regard("cohort", model, table, "-m", "gradient", "--seed", "1", "-o", out, "--overwrite").code == 0
    assert yaml.safe_load((out / "run.yaml").read_text())["seed"] == 1


SLOW = """
import time
import regard.cohort.question as question
real = question.explain_case
def explain_case(*arguments, **options):
    time.sleep(0.3)
    return real(*arguments, **options)
question.explain_case = explain_case
from regard.cli import main
main()
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_folder_that_goes_on(
    regard: Regard, model: Path, table: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    out = tmp_path / "out"
    base = ["cohort", str(model), str(table), "-m", "gradient", "-o", str(out)]
    process = subprocess.Popen([sys.executable, "-c", SLOW, *base], stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(1200):
            if (out / "checkpoints").exists():
                break
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        assert regard(*base).refused(f"process {process.pid}", "in use")
        time.sleep(0.8)
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, state(out)) == (130, "interrupted"), said
    assert said.startswith("regard: interrupted")
    kept = list((out / "checkpoints").glob("node-*"))
    assert kept  # what was computed is kept
    assert regard(*base).code == 0
    assert regard(*base[:-1], str(tmp_path / "whole")).code == 0
    name = "population/desc-gradient_mean.nii.gz"
    assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_private_leaves_no_path(regard: Regard, model: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "pictures" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert regard("cohort", model, table, "-m", "gradient", "-o", out, "--private").code == 3
    assert not (out / "inputs.tsv").exists()
    for name in ("run.yaml", "failures.tsv", "report.html", "run.log"):
        assert os.path.basename(tmp_path) not in (out / name).read_text(), name


def test_help_has_an_example_and_loads_nothing_heavy(regard: Regard) -> None:
    said = regard("cohort", "--help")
    assert said.code == 0
    assert "Example: regard cohort" in said.out


def test_a_transform_for_each_case(regard: Regard, model: Path, table: Path, tmp_path: Path) -> None:
    """Scans lie shifted by whole pixels: with their transforms the mean is that of the images as they were."""
    lines = table.read_text().splitlines()
    shift = np.eye(4)
    shift[:3, 3] = [-2.0, 3.0, 0.0]
    shift[0, 0] = 2.0
    (tmp_path / "move.txt").write_text("\n".join(" ".join(map(str, row)) for row in shift))
    table.write_text("\n".join([lines[0] + "\tmove", *(line + "\tmove.txt" for line in lines[1:])]) + "\n")
    base = ("cohort", model, table, "-m", "input-x-gradient", "--template", tmp_path / "pictures" / "0.png")
    assert regard(*base, "--warp", "move", "-o", tmp_path / "moved").code == 0
    assert regard(*base, "-o", tmp_path / "still").code == 0
    jacobian = np.asarray(nibabel.load(tmp_path / "moved" / "population" / "jacobian_mean.nii.gz").dataobj)
    np.testing.assert_allclose(jacobian, 2.0, rtol=1e-6)
    total = {
        name: [float(r["outside"]) for r in rows(tmp_path / name / "predictions.tsv")] for name in ("moved", "still")
    }
    maps = {
        name: np.asarray(nibabel.load(tmp_path / name / "population/desc-inputxgradient_mean.nii.gz").dataobj)
        for name in ("moved", "still")
    }
    assert total["still"] == [0.0] * 12
    assert np.nansum(maps["moved"]) + np.mean(total["moved"]) == pytest.approx(np.nansum(maps["still"]), rel=1e-4)
    (tmp_path / "move.txt").unlink()
    said = regard(*base, "--warp", "move", "-o", tmp_path / "lost")
    assert said.code == 2
    assert "none of 12 cases" in said.err
    assert "move.txt" in failures(tmp_path / "lost")[0]["message"]

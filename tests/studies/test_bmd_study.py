"""The bone density study through the command line: phantoms, a user's tree, and killed processes."""

import csv
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bmd_tree import AFFINE, DEFECTS, tree

from regard.cli import main
from regard.core.errors import CardError, FolderError, InputError
from regard.explainers.spec import parse_methods
from regard.io import RunFolder, read_table
from regard.models import load_model
from regard.models.zoo import ZOO
from regard.phantoms.torso import draw_shape, factors_of, measure_l1
from regard.studies.bmd.cohort import Cohort, Scale
from regard.studies.bmd.config import SIZES, BMDConfig
from regard.studies.bmd.networks import TRABECULAR, masked, predicted, train_member
from regard.studies.bmd.phantoms import again, dosed, phantom_cohort
from regard.studies.bmd.predictors import floors
from regard.studies.bmd.reading import read_ct
from regard.studies.bmd.truth import case_truth, rendered
from regard.studies.config import resolve
from regard.studies.run import StudyRun
from regard.studies.trained import split
from regard.testing.two_devices import ACCELERATOR, two_devices

THERE = ("--device", str(ACCELERATOR))
"""Where the networks of the runs here are; a recorder sees that their images are there too."""

TINY = [
    "data.n_train=6", "data.n_calibration=0", "data.n_test=4",
    "data.doses=[0.0,0.9]", "train.n_epochs=1", "train.n_decoy_epochs=1", "train.unet_epochs=1",
    "train.unet_slices=6", "train.unet_widths=[4,4,4,4]", "score.n_outlined=2",
    "explain.methods=[grad-cam,grad-ram,grad-ramp,random-cam]", "explain.n_cases=2", "explain.n_pictured=1",
    "weigh.methods=[grad-ram,'grad-ram:layer=stages.1@grad-ram-early']",
    "weigh.n_null=3", "weigh.n_truth=2", "weigh.factors=[trabecular,muscle]",
]  # fmt: skip


MIDDLE = AFFINE[:3, :3] @ [19.5, 22, 3.5] + AFFINE[:3, 3]
"""Of the vertebra in every scan of the tree [RAS mm]."""


def sets(*more: str) -> list[str]:
    return [part for text in (*TINY, *more) for part in ("--set", text)]


def tiny() -> BMDConfig:
    return resolve(SIZES, "smoke", settings=TINY)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "run"
    command = ["study", "run", "bmd", "--size", "smoke", *THERE, "-o", str(path), "-q", "--threads", "1", *sets()]
    with two_devices() as devices:
        assert main([*command]) == 0
        assert devices.n_there > 1000
    return path


def test_what_a_run_leaves(finished: Path) -> None:
    for name in ("run.yaml", "report.html", "scores.json", "evidence.tsv", "evidence.json", "failures.tsv", "run.log"):
        assert (finished / name).exists(), name
    assert (finished / "failures.tsv").read_text() == "case\tstage\terror_type\tmessage\n"
    said = json.loads((finished / "scores.json").read_text())
    assert (said["schema"], said["study"], said["size"]) == ("regard.scores/1", "bmd", "smoke")
    groups = said["scores"]
    wanted = {"case1", "case2", "case3", "ceiling", *(f"floor_{n}" for n in ("mean", "histogram", "region_hu"))}
    assert wanted <= set(groups)
    assert {"pearson_r", "mae", "rmse", "mape", "slope", "f1"} <= set(groups["case1"])
    assert all(s["n"] is not None and s["unit"] for g in groups.values() for s in g.values())
    assert {"segmentation_unet", "segmentation_threshold", "segmentation_active_contour"} <= set(groups)
    assert "average-precision@data" in groups["map_grad-ram"] and "effect_of_decoy" in groups["decoy_0.9_case3"]
    models = {p.parent.name for p in finished.glob("models/*/card.yaml")}
    assert {"segmentation", "case1-member0", "case3-member1", "case1-decoy0.9-member0"} <= models
    second = load_model(finished / "models/case1-trabecular-bmd-member0").card
    low, high = second.trained_on.ranges["output"]
    assert second.output.units == ("mg/cm3",) and 20 < low < high < 400
    assert groups["trabecular"]["mae"]["unit"] == "mg/cm3"
    assert not list(finished.rglob("*.ckpt"))
    # One on the scan's grid and one on the network's, of two cases.
    assert len(list((finished / "maps").glob("*_desc-gradram_relevance.nii.gz"))) == 4
    page = (finished / "report.html").read_text()
    for words in ("for a clinician", "Are the maps true?", "A shortcut, by dose", "At the decision", "second target"):
        assert words in page
    assert "hardly follow" in page  # a network that learned nothing is not praised
    where = groups["where_grad-ram-early-published"]
    assert sum(s["value"] for s in where.values()) == pytest.approx(1.0)
    assert groups["where_pixels"]["share_body"]["value"] < 0.1


def test_one_ct_is_read_with_the_networks_of_a_run(finished: Path, tmp_path: Path) -> None:
    table = tree(tmp_path, n_good=2, defects=False)
    case = read_table(table)[1]
    found = read_ct(finished, case, ["grad-ramp"])
    assert np.allclose(found.image.grid.to_world([31.5, 31.5, 0]), MIDDLE)
    assert found.outline.grid.matches(found.image.grid) and set(found.outline.tensor.unique().tolist()) <= {0, 1, 2}
    assert set(found.densities) == {1, 2, 3}
    (relevance,) = (e.relevance for e in found.explanations)
    assert np.array_equal(relevance.affine, found.image.affine)
    assert any("simulated" in w for w in found.warnings)
    # By hand: the first network's reading of the slice that was cut.
    model = load_model(finished / "models/case1-member0")
    normalise = model.card.inputs[0].normalise
    x = (found.image.tensor[0, :, :, 0].T[None, None].clamp(-500, 1300) - normalise.mean) / normalise.std
    members = [load_model(finished / f"models/case1-member{n}").network for n in (0, 1)]
    with torch.no_grad():
        assert found.densities[1] == pytest.approx(float(sum(m(x) for m in members)) / 2, abs=1e-6)
    with pytest.raises(FolderError, match="networks of case 1"):
        shutil.copytree(finished, tmp_path / "r", ignore=shutil.ignore_patterns("models"))
        read_ct(tmp_path / "r", case)


def test_a_finished_run_is_only_told_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "scores.json").read_bytes()
    arguments = ["study", "run", "bmd", "--size", "smoke", *THERE, "-o", str(finished), "-q", "--threads", "1", *sets()]
    made = {p: p.stat().st_mtime_ns for p in finished.rglob("*.safetensors")}
    assert main([*arguments, "--json"]) == 0
    assert made == {p: p.stat().st_mtime_ns for p in finished.rglob("*.safetensors")} != {}
    assert (finished / "scores.json").read_bytes() == before
    assert "case1" in json.loads(capsys.readouterr().out)["scores"]
    assert main([*arguments, "--set", "train.n_epochs=2"]) == 2


def test_later_acts_from_another_run(finished: Path, tmp_path: Path) -> None:
    more = ["--acts", "score", "--from", str(finished)]
    arguments = ["study", "run", "bmd", "--size", "smoke", *THERE, "-o", str(tmp_path / "r"), "-q", "--threads", "1"]
    assert main([*arguments, *more, *sets("score.level=0.8")]) == 0
    new, old = (json.loads((p / "scores.json").read_text())["scores"] for p in (tmp_path / "r", finished))
    assert new["case1"]["pearson_r"] == old["case1"]["pearson_r"]
    assert "map_grad-ram" not in new and not (tmp_path / "r/models").exists()
    assert main([*arguments[:-3], "-q", *more, *sets("train.n_epochs=2"), "--overwrite"]) == 2


def test_the_card_holds_the_training_sets_scale(finished: Path) -> None:
    model = load_model(finished / "models/case1-member0")
    with RunFolder(finished.parent / "other", "study", {}) as folder:
        cohort = phantom_cohort(StudyRun(tiny(), folder), tiny(), "train", 6)
    scale = Scale.of(cohort.images)
    spec = model.card.inputs[0]
    assert (spec.normalise.mean, spec.normalise.std) == (scale.low, scale.high - scale.low)
    assert scale.low == -500 and scale.high <= 1300
    assert model.card.layer == "head.conv" and spec.window == (-500, 1300)
    assert float(scale(torch.tensor(-2000.0))) == 0 and float(scale(torch.tensor(float(scale.high)))) == 1


def test_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "list"]) == 0
    assert "bmd" in capsys.readouterr().out
    assert main(["study", "show", "bmd"]) == 0
    said = capsys.readouterr().out
    for words in ("train.n_members", "256x256", "reduced", "absent", "weigh"):
        assert words in said
    assert main(["study", "show", "bmi"]) == 2


def test_listing_loads_no_torch() -> None:
    code = "import sys; from regard.cli import main; main(['study', 'list']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_sizes_are_those_of_the_paper_and_smaller() -> None:
    paper = SIZES["paper"]
    assert list(SIZES) == ["smoke", "default", "reference", "paper"]
    assert paper.data.shape == (256, 256) and paper.train.n_members == 10 and paper.train.n_epochs == 150
    n_slices = len(paper.data.offsets_mm)
    assert abs(paper.data.n_train * n_slices - 2239) < n_slices and abs(paper.data.n_test * n_slices - 457) < n_slices
    assert (paper.train.min_rate, paper.train.learning_rate, paper.train.batch_size) == (0.001, 0.001, 15)
    assert set(SIZES["default"].data.doses) < set(SIZES["reference"].data.doses) == {0.0, 0.3, 0.6, 0.9}


@pytest.mark.parametrize("size", list(SIZES))
def test_every_size_is_valid_and_its_methods_can_be_built(size: str) -> None:
    config = BMDConfig.model_validate(SIZES[size].model_dump())
    network = ZOO.load("bmd-resnet22")(config.data.shape)
    for spec in parse_methods(config.explain.methods) + parse_methods(config.weigh.methods):
        spec.build(network, layer="head.conv")
    assert config.explain.early_layer in dict(network.named_modules())


@pytest.mark.parametrize(
    "setting", ["explain.methods=[smoothgrad:n=3]", "weigh.factors=[age]", "data.decoy=habitus", "data.doses=[2]"]
)
def test_a_setting_that_would_fail_later_fails_at_once(setting: str) -> None:
    with pytest.raises(CardError, match=setting.partition("=")[0]):
        resolve(SIZES, "default", settings=[setting])


def test_splits_are_by_patient() -> None:
    patients = [f"p{n // 3}" for n in range(60)]
    seen = set()
    for member in range(5):
        ours, held = split(patients, 0.2, seed=0, member=member)
        assert not ours & held and ours | held == set(patients) and len(held) == 4
        seen.add(frozenset(held))
    assert len(seen) > 1
    with pytest.raises(InputError, match="at least two"):
        split(["p"], 0.2, seed=0, member=0)


def test_masked_cases() -> None:
    images = torch.full((1, 1, 4, 4), 100.0)
    shares = torch.zeros(1, 2, 4, 4)
    shares[0, 0, 0, 0] = 0.9
    shares[0, 1, 0, :] = 0.3
    shares[0, 1, 1, :] = 0.1
    assert masked(images, shares, 1, 0.2) is images
    assert (masked(images, shares, 2, 0.2)[0, 0] > 0).sum() == 4
    assert (masked(images, shares, 3, 0.2)[0, 0] > 0).sum() == 1
    assert float(masked(images, shares, 3, 0.2).min()) == -500


def test_rendering_again_changes_nothing_but_the_factor(tmp_path: Path) -> None:
    config = tiny()
    with RunFolder(tmp_path / "r", "study", {}) as folder:
        run = StudyRun(config, folder)
        test = phantom_cohort(run, config, "test", 4)
        followed = phantom_cohort(run, config, "test", 4, dose=0.9)
        same, factors = again(run, config, "test-0002", [{}, {"aortic_calcium": 1.0}, {"aortic_calcium": 0.0}])
        dosed_same, _ = again(run, config, "test-0002", [{}], dose=0.9)
        made = rendered(run, config, "test-0002", ("trabecular", "aortic_calcium"))
    assert torch.equal(same[0], test.images[2]) and torch.equal(dosed_same[0], followed.images[2])
    assert 0 <= factors["aortic_calcium"] <= 1
    moved = (same[1] - same[2]).abs()[0] > 1
    assert 0 < int(moved.sum()) < 200
    assert not bool((moved & (test.vertebra[2] > 0.99)).any())
    # A reader of the mean inside the vertebra depends on its density, and not on the aorta.
    inside = test.vertebra[2] > 0.99
    truth = case_truth(lambda x: x[:, 0][:, inside].mean(1), made, "aortic_calcium", (3.0, 3.0))
    assert truth.change["trabecular"] > 10 * abs(truth.change["aortic_calcium"])
    reader = {k: abs(v) for k, v in truth.shapley.items()}
    assert reader["trabecular"] > 10 * reader["aortic_calcium"]
    assert not bool((truth.places.core & moved & ~inside).all())


def test_a_dose_is_a_correlation_with_the_label() -> None:
    drawn = [draw_shape(5, n, decoys={"aortic_calcium": 0.0}) for n in range(40)]
    labels = [measure_l1(s, spacing_mm=1.5, fine=1).areal_bmd for s in drawn]
    for dose, low, high in ((0.0, -0.45, 0.45), (0.6, 0.35, 0.85), (0.9, 0.75, 1.0)):
        values = [factors_of(dosed(s, y, "aortic_calcium", dose))["aortic_calcium"] for s, y in zip(drawn, labels)]
        r = float(torch.corrcoef(torch.tensor([values, labels], dtype=torch.float64))[0, 1])
        assert low <= -r <= high
        assert min(values) >= 0 and max(values) <= 1


def _flat_cohort(n: int, seed: int) -> Cohort:
    generator = torch.Generator().manual_seed(seed)
    labels = 0.6 + 0.6 * torch.rand(n, generator=generator)
    images = torch.full((n, 1, 16, 16), 40.0)
    images[:, 0, 4:12, 4:12] = (300 * labels)[:, None, None]
    nothing = torch.full((n,), math.nan)
    body = torch.zeros(n, 16, 16)
    body[:, 4:12, 4:12] = 1
    names = tuple(f"c{k}" for k in range(n))
    affines = torch.eye(4, dtype=torch.float64).repeat(n, 1, 1)
    return Cohort(images, body, body, labels, nothing, nothing, nothing, affines, (1.0, 1.0), names, names)


def test_floors_know_what_they_know() -> None:
    learn, test = _flat_cohort(60, 0), _flat_cohort(30, 1)
    found = floors(learn, test, (learn.body, test.body))
    assert set(found) == {"mean", "histogram", "region_hu", "body_size"}
    assert abs(found["region_hu"] - test.y).max() < 1e-6
    assert abs(found["mean"] - learn.y.mean()).max() < 1e-9
    assert abs(found["histogram"] - test.y).mean() < 0.6 * abs(found["mean"] - test.y).mean()


def test_a_network_of_another_unit_reads_in_that_unit_and_starts_from_another(tmp_path: Path) -> None:
    """Labels that are 200 times the areal ones: trained on their own scale, read in theirs."""
    config = resolve(SIZES, "smoke", settings=["train.n_epochs=40", "train.flip=false", "train.shift=0"])
    areal = _flat_cohort(60, 0)
    spongy, test = replace(areal, labels=200 * areal.labels), _flat_cohort(30, 1)
    scale = Scale.of(areal.images)
    with RunFolder(tmp_path / "r", "study", {}) as folder:
        run = StudyRun(config, folder)
        first = train_member(run, config, lambda: areal, scale, 1, 0)
        second = train_member(
            run, config, lambda: spongy, scale, 1, 0, wanted=TRABECULAR, start=lambda: first, n_epochs=15
        )
        again = train_member(run, config, lambda: pytest.fail("trained twice"), scale, 1, 0)
    assert first.card.output.units == ("g/cm2",) and second.card.output.units == ("mg/cm3",)
    (read,), (spongy_read,), (same,) = (predicted([m], test.images, scale) for m in (first, second, again))
    assert np.array_equal(read, same)
    assert abs(read - test.y).mean() < 0.5 * abs(areal.y.mean() - test.y).mean()
    assert abs(spongy_read - 200 * test.y).mean() < 0.5 * 200 * abs(areal.y.mean() - test.y).mean()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_users_tree_with_every_defect_runs_to_a_report(tmp_path: Path) -> None:
    table, path = tree(tmp_path / "data"), tmp_path / "run"
    arguments = ["study", "run", "bmd", "--size", "smoke", "--data", str(table), "-o", str(path), "-q", *sets()]
    assert main(arguments) == 3
    with (path / "failures.tsv").open(newline="") as stream:
        failed = {r["case"]: r for r in csv.DictReader(stream, dialect="excel-tab")}
    assert set(failed) == set(DEFECTS)
    for case, words in DEFECTS.items():
        assert words in failed[case]["message"], failed[case]
        assert failed[case]["stage"] == "read"
    scores = json.loads((path / "scores.json").read_text())["scores"]
    assert scores["case1"]["mae"]["n"] >= 2
    assert "ceiling" not in scores and "floor_histogram" in scores
    assert "your table" in (path / "report.html").read_text()
    maps = sorted((path / "maps").glob("*_desc-gradram_relevance.nii.gz"))
    assert maps
    assert main(arguments) == 3  # told again, and nothing read twice


def test_a_table_without_a_column_is_the_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tree(tmp_path / "data", n_good=1, columns=("case", "image", "patient", "l1"), defects=False)
    code = main(["study", "run", "bmd", "--size", "smoke", "--data", str(table), "-o", str(tmp_path / "r"), "-q"])
    assert code == 2
    assert "without the column label" in capsys.readouterr().err
    assert main(["study", "run", "bmd", "--data", str(tmp_path / "none.tsv"), "-o", str(tmp_path / "s"), "-q"]) == 2


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_smallest_size_as_it_is(tmp_path: Path) -> None:
    assert main(["study", "run", "bmd", "--size", "smoke", *THERE, "-o", str(tmp_path / "run"), "-q"]) == 0
    scores = json.loads((tmp_path / "run/scores.json").read_text())["scores"]
    assert scores["case1"]["mae"]["n_patients"] == 12 and scores["ceiling"]["pearson_r"]["value"] > 0.98


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_at_random_moments_it_ends_the_same(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    code = "import sys; from regard.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "study", "run", "bmd", "--size", "smoke", *THERE, "-o", str(path), "-q"]
    command += ["--threads", "1", *sets()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    draw, killed = random.Random(4), 0
    while killed < 3:
        process = subprocess.Popen(command, env=environment)
        deadline = time.monotonic() + 60
        # What is there grows as the run goes on; the moment is drawn among its pieces.
        seen, wanted = len(list(path.rglob("*"))) if path.exists() else 0, draw.randint(3, 25)
        while process.poll() is None and time.monotonic() < deadline:
            if path.exists() and len(list(path.rglob("*"))) >= seen + wanted:
                break
            time.sleep(0.02)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
    assert killed == 3
    assert subprocess.run(command, env=environment).returncode == 0
    assert (path / "scores.json").read_bytes() == (finished / "scores.json").read_bytes()
    assert (path / "evidence.tsv").read_bytes() == (finished / "evidence.tsv").read_bytes()

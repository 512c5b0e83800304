"""Signals planted into scans of a user: they lie where the truth says, patients stay apart, and a run goes on."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
import yaml
from monai.networks.nets import DenseNet
from safetensors.torch import save_file
from torch import nn

from regard.bench.run import run_bench
from regard.bench.scans.images import Scans, read_scans
from regard.bench.scans.phantom import TASKS, ScanPhantom
from regard.bench.scans.plan import plan_of, untrained
from regard.bench.scans.regions import READ, phantom_of
from regard.bench.table import learned
from regard.cohort.cases import find_cohort
from regard.core.errors import CapabilityError, InputError, RegardError, UnknownNameError
from regard.models.card import InputSpec, ModelCard, OutputSpec
from regard.models.model import Model
from regard.phantoms.backgrounds import correlated, tissues
from regard.phantoms.truth import data_truth, model_truth


def write_table(folder: Path, n: int = 12, shape: tuple[int, ...] = (40, 36, 1)) -> Path:
    """Scans of n patients, and a second one of the first."""
    lines = ["case\timage\tpatient"]
    for k in range(n + 1):
        plane = tuple(s for s in shape if s > 1)
        body = tissues(plane, 5, f"scan-{k}") + 0.05 * correlated(plane, 1.0, 5, f"scan-{k}", "grain")
        values = (100 + 900 * body).reshape(shape).numpy().astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([-2.0, -2.0, 2.0, 1.0])), folder / f"s{k}.nii.gz")
        lines.append(f"c{k}\ts{k}.nii.gz\tp{k % n}")
    (folder / "table.tsv").write_text("\n".join(lines) + "\n")
    return folder / "table.tsv"


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Scans:
    return read_scans(find_cohort(write_table(tmp_path_factory.mktemp("scans"))), None)


def test_patients_to_learn_from_and_to_test_on_are_different_ones(scans: Scans) -> None:
    assert scans.shape == (64, 64)
    assert len(scans.test) == 5
    assert len(scans.learn) in (7, 8)  # with the second scan of the first patient, or without
    for one in scans.test:
        assert not any(torch.equal(one, other) for other in scans.learn)


@pytest.mark.parametrize("task", list(TASKS))
def test_what_is_planted_lies_where_the_truth_says_and_nowhere_else(scans: Scans, task: str) -> None:
    made = ScanPhantom.of(task, scans, test_seed=9)
    for number in range(3):
        low, high = (made.subject(number, seed=9, factors={"signal": v}) for v in (0.2, 0.8))
        change = (high.image - low.image)[0].abs()
        truth = data_truth(made, number, seed=9)
        assert change.max() > 0.1 * scans.strength
        assert bool((change[~(truth.core | truth.allowed)] < 0.1 * change.max()).all())
        faint, bright = (made.subject(number, seed=9, factors={"distractor": v}) for v in (0.1, 0.9))
        other = (bright.image - faint.image)[0].abs()
        assert float(other.max()) > 0.1 * scans.strength
        assert float(other[truth.core].max()) < 1e-5  # what does not count lies elsewhere
        assert bright.label == faint.label


def test_test_subjects_are_test_patients_and_training_subjects_are_not(scans: Scans) -> None:
    made = ScanPhantom.of("spot", scans, test_seed=9)
    off = {"signal": 0.0, "distractor": 0.0}
    for number in range(5):
        behind = made.subject(number, seed=9, factors=off).image
        assert torch.equal(behind, scans.test[number])
        other = made.subject(number, seed=3, factors=off).image
        assert any(torch.equal(other, one) for one in scans.learn)


@pytest.mark.parametrize("task", list(READ))
def test_what_is_read_in_a_scan_is_its_label_and_no_scan_is_changed(scans: Scans, task: str) -> None:
    made = phantom_of(task, scans, 9)
    labels = []
    for number in range(len(scans.test)):
        subject = made.subject(number, seed=9)
        assert torch.equal(subject.image, scans.test[number])
        inside = subject.structure == 1
        pixels = subject.image[0][inside].double()
        read = float(pixels.mean() if task == "region-mean" else pixels.std())
        labels.append((subject.label, read))
    low, high = (sorted(labels)[k] for k in (0, -1))
    slope = (high[1] - low[1]) / (high[0] - low[0])
    # The label is what is read, but for voxels at the rim and its scale.
    for label, read in labels:
        assert label == pytest.approx(low[0] + (read - low[1]) / slope, abs=0.15)
    train = [made.subject(n, seed=3) for n in range(64)]
    assert len({round(s.label, 6) for s in train}) > 50  # a few scans give many numbers
    assert -0.5 < min(s.label for s in train) < 0.4 < 0.6 < max(s.label for s in train) < 1.5


@pytest.mark.parametrize("task", list(READ))
def test_the_truth_of_an_unaltered_scan_is_the_place_that_is_read(scans: Scans, task: str) -> None:
    made = phantom_of(task, scans, 9)
    for number in range(3):
        again = made.subject(number, seed=9, factors={"signal": 0.9})
        before = made.subject(number, seed=9)
        changed = (again.image - before.image)[0].abs() > 1e-6
        assert bool((before.structure[changed] > 0).all())
        # The changed image holds what its label says.
        assert made._held(again.image[0])["signal"] == pytest.approx(0.9, abs=0.05)
        assert made._held(again.image[0])["distractor"] == pytest.approx(before.factors["distractor"], abs=1e-4)
        weight = before.structure / before.structure.sum()

        def f(images: torch.Tensor, w: torch.Tensor = weight) -> torch.Tensor:
            mean = (w * images[:, 0]).flatten(1).sum(1)
            return (w * (images[:, 0] - mean[:, None, None]) ** 2).flatten(1).sum(1) if READ[task] != "mean" else mean

        found = model_truth(f, made, number, seed=9)
        assert abs(found.shapley["distractor"]) < 0.01 * abs(found.shapley["signal"])
        assert torch.equal(found.places.core, data_truth(made, number, seed=9).core)


def test_a_run_ends_goes_on_and_says_whose_scans_it_speaks_of(scans: Scans, tmp_path: Path) -> None:
    plan = plan_of("smoke", scans, None, seed=0, methods=("gradient", "occlusion:window=8,stride=8"), tasks=("spot",))
    cells, rows = run_bench(plan, tmp_path)
    assert {r.n_patients for r in rows} == {len(scans.test)}
    told = json.loads((tmp_path / "scores.json").read_text())["scores"]["spot"]["r2"]
    assert (told["n"], told["n_patients"]) == (64, len(scans.test))
    assert "these scans and this network" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "figures" / "images.png").stat().st_size > 1000
    before = (tmp_path / "bench.tsv").read_bytes()
    stamp = next((tmp_path / "checkpoints").iterdir()).stat().st_mtime_ns
    again, _ = run_bench(plan, tmp_path)
    assert (tmp_path / "bench.tsv").read_bytes() == before
    assert next((tmp_path / "checkpoints").iterdir()).stat().st_mtime_ns == stamp
    assert vars(again[0]) == vars(cells[0])


def test_volumes_are_planted_into_as_well(tmp_path: Path) -> None:
    scans = read_scans(find_cohort(write_table(tmp_path, 10, (24, 24, 20))), None)
    assert scans.shape == (32, 32, 32)
    subject = ScanPhantom.of("cluster", scans, test_seed=1).subject(0, seed=1)
    assert subject.structure.shape == scans.shape
    assert 0 < float((subject.structure > 0.5).float().mean()) < 0.05


def densenet(outputs: int = 3) -> nn.Module:
    return DenseNet(
        spatial_dims=2, in_channels=3, out_channels=outputs, init_features=8, growth_rate=4, block_config=(1, 1)
    )


def test_the_architecture_of_a_user_is_trained_from_new_weights(scans: Scans) -> None:
    card = ModelCard(
        name="dense",
        inputs=(InputSpec(shape=(64, 64), orientation="PL", channels=3, unit="intensity"),),
        output=OutputSpec(kind="classification", names=("a", "b", "c"), units=("1", "1", "1")),
    )
    model = Model(densenet().eval().requires_grad_(False), card)
    kept = {k: v.clone() for k, v in model.network.state_dict().items()}  # type: ignore[union-attr]
    made = untrained(model, seed=1)
    assert all(p.requires_grad for p in made.parameters())
    moved = [not torch.equal(v, kept[k]) for k, v in made.state_dict().items() if v.ndim > 1]
    assert all(moved)
    assert all(torch.equal(v, kept[k]) for k, v in model.network.state_dict().items())  # type: ignore[union-attr]
    plan = plan_of("smoke", scans, model, seed=0, methods=("gradient",), tasks=("spot",))
    network = plan.question("spot").network(2)
    assert network(torch.rand(2, 1, 64, 64)).shape == (2, 1)


def test_what_cannot_be_trained_or_planted_is_refused(scans: Scans, tmp_path: Path) -> None:
    card = ModelCard(name="x", inputs=(InputSpec(shape=(64, 64)),), output=OutputSpec(kind="regression"))
    with pytest.raises(CapabilityError, match=r"torch\.nn\.Module"):
        untrained(Model(lambda x: x.mean((1, 2, 3)), card), seed=1)
    with pytest.raises(UnknownNameError, match="spot"):
        plan_of("smoke", scans, None, seed=0, tasks=("spto",))
    few = find_cohort(write_table(tmp_path, 6))
    with pytest.raises(InputError, match="6 patients"):
        read_scans(few, None)
    (tmp_path / "flat").mkdir()
    table = write_table(tmp_path / "flat", 10)
    for k in range(11):
        flat = np.full((40, 36, 1), 7, np.float32)
        nibabel.save(nibabel.Nifti1Image(flat, np.diag([-2.0, -2.0, 2.0, 1.0])), tmp_path / "flat" / f"s{k}.nii.gz")
    with pytest.raises(InputError):
        read_scans(find_cohort(table), None)


def test_what_was_not_learned_is_left_out_of_the_mean(scans: Scans, tmp_path: Path) -> None:
    plan = plan_of("smoke", scans, None, seed=0, methods=("gradient",), tasks=("spot", "spot-classes"))
    cells, _ = run_bench(plan, tmp_path)
    for cell in cells:
        cell.fit[next(k for k in cell.fit if k in ("r2", "auc"))] = 0.9
    assert all(learned([c]) for c in cells)
    cells[0].fit["r2"] = 0.1
    assert not learned([cells[0]])


def test_the_verb_tells_of_scans_that_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from regard.cli import main

    table = write_table(tmp_path, 11)
    (tmp_path / "s4.nii.gz").write_bytes(b"no image")
    words = ["bench", "--images", str(table), "--size", "smoke", "--phantoms", "spot", "-m", "gradient"]
    assert main([*words, "-o", str(tmp_path / "out"), "--threads", "1"]) == 0
    said = capsys.readouterr()
    assert "c4 is left out" in said.err
    assert "12 scans" not in said.out
    record = yaml.safe_load((tmp_path / "out" / "run.yaml").read_text())
    assert "c4" not in record["case_ids"]
    assert main(["bench", "--network", "x", "-o", str(tmp_path / "n")]) == 2
    assert "--images" in capsys.readouterr().err


def test_a_card_of_a_folder_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from regard.cli import main

    table, folder = write_table(tmp_path, 10), tmp_path / "model"
    folder.mkdir()
    (folder / "network.py").write_text(
        "from monai.networks.nets import DenseNet\n\n\ndef build(**kwargs):\n    return DenseNet(**kwargs)\n"
    )
    known = {"spatial_dims": 2, "in_channels": 3, "out_channels": 3, "init_features": 8, "growth_rate": 4}
    card = {
        "schema": "regard.card/1", "name": "dense", "factory": "network.py:build", "weights": "weights.safetensors",
        "kwargs": {**known, "block_config": [1, 1]},
        "inputs": [{"name": "image", "channels": 3, "orientation": "PL", "shape": [48, 48], "normalise": "zscore"}],
        "output": {"kind": "classification", "names": ["a", "b", "c"], "units": ["1", "1", "1"]},
    }  # fmt: skip
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    save_file({k: v.contiguous() for k, v in densenet().state_dict().items()}, folder / "weights.safetensors")
    words = ["bench", "--images", str(table), "--network", str(folder), "--size", "smoke", "--phantoms", "spot"]
    assert main([*words, "-m", "gradient", "-o", str(tmp_path / "refused"), "-q"]) == 2
    assert "--trust" in capsys.readouterr().err
    assert main([*words, "-m", "gradient", "-o", str(tmp_path / "out"), "-q", "--trust", "--threads", "1"]) == 0
    assert "the architecture of dense" in capsys.readouterr().out


def test_what_a_network_without_places_cannot_have_is_left_out(
    scans: Scans, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 8), nn.ReLU(), nn.Linear(8, 1))
    card = ModelCard(name="flat", inputs=(InputSpec(shape=(64, 64)),), output=OutputSpec(kind="regression"))
    plan = plan_of("smoke", scans, Model(network.eval(), card), seed=0, tasks=("spot",))
    assert "grad-ram is left out" in caplog.text
    assert "grad-ram" not in plan.labels
    assert "random-cam" not in plan.labels
    assert {"gradient", "image", "edges"} <= set(plan.labels)
    cells, _ = run_bench(replace(plan, methods=("gradient",)), tmp_path)
    assert set(cells[0].values) == {"gradient", "image", "edges", "smooth surrogate"}
    with pytest.raises(RegardError):
        plan_of("smoke", scans, Model(network.eval(), card), seed=0, methods=("grad-ram",), tasks=("spot",))


def test_changed_scans_are_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from regard.cli import main

    table = write_table(tmp_path, 10)
    words = ["bench", "--images", str(table), "--size", "smoke", "--phantoms", "spot", "-m", "gradient", "-q"]
    words += ["-o", str(tmp_path / "out"), "--threads", "1"]
    assert main(words) == 0
    assert main(words) == 0
    values = np.random.default_rng(0).normal(500, 50, (40, 36, 1)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-2.0, -2.0, 2.0, 1.0])), tmp_path / "s3.nii.gz")
    capsys.readouterr()
    assert main(words) == 2
    assert "c3" in capsys.readouterr().err

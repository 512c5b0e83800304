"""The brain age study through the command line: phantoms, a user's tree, and what it refuses to say."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from brain_tree import DEFECTS, tree
from scipy.stats import spearmanr

from regard.cli import main
from regard.core.errors import InputError, ShapeError
from regard.io import read
from regard.models import load_model
from regard.models.case import prepare_case
from regard.phantoms.brain import BrainPhantom, render
from regard.phantoms.truth import model_truth
from regard.studies.brain_age.cohort import prepared
from regard.studies.brain_age.config import SIZES
from regard.studies.brain_age.correction import Predicted, accuracy, corrected
from regard.studies.brain_age.networks import bins_of, soft_bins
from regard.studies.brain_age.patches import corners_of
from regard.studies.brain_age.regions import agreement, leaders, top_share
from regard.studies.brain_age.slices import Slices
from regard.studies.brain_age.truth import Remembering
from regard.studies.brain_age.unoise_scores import controls_of, tolerance
from regard.testing.two_devices import ACCELERATOR, two_devices
from regard.training.noise_files import read_noise_model
from regard.training.noising import NoiseSettings

THERE = ("--device", str(ACCELERATOR))
"""Where the networks of the runs here are; a recorder sees that their images are there too."""

TINY = [
    "data.spacing_mm=12", "data.n_train=6", "data.n_calibration=3", "data.n_test=4", "data.n_nothing=3",
    "data.doses.hippocampi=0",
    "train.widths=[4,4]", "train.n_epochs=1", "train.noise.n_cases=4", "train.patches.size=4", "train.patches.step=8",
    "train.patches.n_epochs=1", "train.patches.width=2",
    "explain.methods=['noise-map:n_steps=2,n_draws=1','integrated-gradients:n_steps=2']",
    "explain.n_cases=3", "explain.n_extent=1", "explain.strengths=[0.1]", "weigh.n_null=3", "weigh.n_truth=1",
]  # fmt: skip


OUTLINE = "how much noise an outline bears"


def sets(*more: str) -> list[str]:
    return [part for text in (*TINY, *more) for part in ("--set", text)]


def command(path: Path, *more: str) -> list[str]:
    return ["study", "run", "brain-age", "--size", "smoke", *THERE, "-o", str(path), "-q", "--threads", "1", *more]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("study") / "run"
    with pytest.MonkeyPatch.context() as patch:
        # Rendered without averaging, many times faster: nothing here is about partial volumes.
        patch.setattr(render, "FINE", 12.0)
        with two_devices() as devices:
            assert main(command(path, *sets())) == 0
            assert devices.n_there > 1000
        yield path


def test_what_a_run_leaves(finished: Path) -> None:
    for name in (
        "run.yaml",
        "report.html",
        "scores.json",
        "evidence.tsv",
        "evidence.json",
        "failures.tsv",
        "regions.tsv",
        "maps.zarr",
    ):
        assert (finished / name).exists(), name
    for card in finished.glob("models/sfcn*/card.yaml"):
        assert "simulated: true" in card.read_text(), card
    for sidecar in (finished / "maps").glob("*.json"):
        assert "simulated" not in sidecar.read_text(), sidecar
    said = json.loads((finished / "scores.json").read_text())
    assert (said["schema"], said["study"], said["size"]) == ("regard.scores/1", "brain-age", "smoke")
    groups = said["scores"]
    wanted = {"test", "sfcn-member0", "sfcn-bins-member0", "ceiling", "floor_mean_age", "floor_histogram"}
    wanted |= {"floor_ventricle", "nothing", "patches_average", "atlas", "depends_sfcn-member0"}
    assert wanted <= set(groups)
    assert {"pearson_r", "mae", "mae_below_mean_age", "gap_slope_corrected"} <= set(groups["test"])
    assert not any("corrected" in name and ("mae" in name or "pearson" in name) for name in groups["test"])
    assert all(s["n"] is not None and s["unit"] for g in groups.values() for s in g.values())
    for label in ("noise-map", "noise-map-learned", "integrated-gradients"):
        assert {"average-precision", "average-precision@data", "spearman_planted"} <= set(groups[f"map_{label}"])
        assert (finished / "population" / f"desc-{label.replace('-', '')}_mean.nii.gz").exists()
    uses = {"change", "used_planted", "map_planted", "map_used", "pattern_planted"}
    assert uses <= set(groups["uses_sfcn-member0"]) == set(groups["uses_sfcn-bins-member0"])
    assert (finished / "population/desc-pattern_slope.nii.gz").exists()
    assert groups["noise_noise-map"]["prediction_change_rms"]["unit"] == "year"
    assert groups["unoise"]["dice"]["n"] == 6 and groups["unoise"]["dice"]["n_patients"] == 3
    measured = {"dice_noisy", "dice_shown", "share_near", "dice_noisy_even", "dice_noisy_above_surrogate"}
    assert measured <= set(groups["unoise_tiny"])
    assert 0 < groups["unoise_tiny"]["brain_inside"]["value"] < groups["unoise_tiny"]["brain_near"]["value"] < 1
    # As the paper counts: 3 channels in 2D.
    assert read_noise_model(finished / "models/unoise-tiny").kwargs == {"spatial_dims": 2, "channels": 3}
    assert load_model(finished / "models/ventricles").card.output.kind == "segmentation"
    assert (finished / "figures/unoise.png").exists()
    page = (finished / "report.html").read_text()
    for words in (
        "Is the learned map an atlas?",
        "The age gap",
        "Are the maps true?",
        "nothing on this page",
        OUTLINE,
        "The map, or the network?",
    ):
        assert words in page
    with (finished / "regions.tsv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, dialect="excel-tab"))
    assert {"hippocampus, left", "white matter, right"} <= {r["region"] for r in rows}
    assert not {"skull and scalp", "occipital remnant"} & {r["region"] for r in rows}


def test_a_finished_run_is_only_told_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = {p: p.stat().st_mtime_ns for p in finished.rglob("*.safetensors")}
    before = (finished / "scores.json").read_bytes()
    assert main([*command(finished, *sets()), "--json"]) == 0
    assert made == {p: p.stat().st_mtime_ns for p in finished.rglob("*.safetensors")} != {}
    assert (finished / "scores.json").read_bytes() == before
    assert "test" in json.loads(capsys.readouterr().out)["scores"]
    assert main(command(finished, *sets("train.n_epochs=2"))) == 2


def test_the_card_prepares_as_the_training_did(finished: Path) -> None:
    model = load_model(finished / "models/sfcn-member0")
    scan = read(next((finished / "cases").glob("brain-*.nii.gz")))
    found = prepare_case(model, {"image": scan}).inputs.tensors[0]
    assert torch.allclose(found, prepared(scan.tensor[None]).to(found), atol=1e-4)


def test_the_cohort_command_takes_what_the_study_wrote(finished: Path, tmp_path: Path) -> None:
    cases = finished / "cases"
    atlas = next(cases.glob("atlas_*.nii.gz"))
    arguments = ["cohort", str(finished / "models/sfcn-member0"), str(cases / "cases.tsv"), "-m", "gradient"]
    arguments += ["--mask", str(cases / "mask.nii.gz"), "--atlas", str(atlas), "-o", str(tmp_path / "c"), "-q"]
    assert main([*arguments, "--atlas-table", str(cases / "atlas.tsv"), "--maps", "none"]) == 0
    assert (tmp_path / "c/regions.tsv").exists()


def test_listing_loads_no_torch() -> None:
    code = "import sys; from regard.cli import main; main(['study', 'list']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "brain-age" in done.stdout and done.stdout.splitlines()[-1] == "False"


def test_sizes_reach_the_papers() -> None:
    paper = SIZES["paper"].data
    assert list(SIZES) == ["smoke", "default", "reference", "paper"]
    assert SIZES["reference"].train.unoise.zoos == ("unoise-small", "unoise-medium", "unoise-large")
    assert not SIZES["default"].train.unoise.zoos
    assert paper.n_train + paper.n_calibration + paper.n_test == 13750 and paper.spacing_mm == 1


def test_no_accuracy_of_what_was_corrected() -> None:
    rng = np.random.default_rng(0)
    ages = rng.uniform(44, 80, 60)
    knows_nothing = Predicted(62 + rng.normal(0, 2, 60))
    after = corrected(knows_nothing, ages, fitted=knows_nothing, fitted_ages=ages)
    # The correction makes a predictor that knows nothing perfect: that is why nothing is quoted of it.
    assert np.corrcoef(after.values, ages)[0, 1] > 0.95
    assert abs(np.polyfit(ages, after.gap(ages), 1)[0]) < 1e-9
    patients = [str(n) for n in range(60)]
    assert abs(accuracy(knows_nothing, ages, patients)["pearson_r"].value) < 0.4
    with pytest.raises(InputError, match="corrected with the true age"):
        accuracy(after, ages, patients)
    with pytest.raises(InputError, match="corrected already"):
        corrected(after, ages, fitted=knows_nothing, fitted_ages=ages)
    with pytest.raises(InputError, match="at least three"):
        corrected(knows_nothing, ages, fitted=Predicted(ages[:2]), fitted_ages=ages[:2])
    with pytest.raises(ShapeError):
        corrected(knows_nothing, ages[:3], fitted=knows_nothing, fitted_ages=ages)


def test_the_correction_is_fitted_elsewhere() -> None:
    ages = np.linspace(44, 80, 30)
    shrunk = Predicted(62 + 0.5 * (ages - 62) + 1.0)
    after = corrected(Predicted(shrunk.values + 3.0), ages, fitted=shrunk, fitted_ages=ages)
    assert np.allclose(after.gap(ages), 3.0)


def test_soft_bins_keep_the_age() -> None:
    ages = torch.tensor([50.0, 61.3, 79.0])
    bins = bins_of(ages, 2.0)
    assert bins[0] <= 45 and bins[-1] >= 84
    found = soft_bins(ages, bins)
    assert torch.allclose(found.sum(1), torch.ones(3))
    assert torch.allclose((found * torch.tensor(bins)).sum(1), ages, atol=0.05)
    spread = ((torch.tensor(bins)[None] - ages[:, None]) ** 2 * found).sum(1).sqrt()
    assert torch.allclose(spread, torch.tensor(2.08), atol=0.1)  # a normal a bin wide, and the bin's own width


class Around(torch.nn.Module):
    """Outlines what is dark, and looks only at what lies about a bright spot."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spot = torch.nn.functional.max_pool2d((x[:, :1] > 20).float(), 7, 1, 3)
        return torch.where(spot > 0, -x[:, :1] - 1.5, -1.0)


def spots() -> Slices:
    """A dark square about a bright spot at a place of each subject's own, in a round brain; two planes each."""
    axis = torch.arange(32) - 15.5
    brain = (axis[:, None] ** 2 + axis[None] ** 2).sqrt() < 15
    images, masks = torch.full((8, 3, 32, 32), -9.0), torch.zeros(8, 1, 32, 32, dtype=torch.bool)
    images[:, :, brain] = 0.0
    for n in range(8):
        i, j = (10, 20)[n // 2 % 2], (8, 12, 16, 20)[n // 2]
        masks[n, 0, i - 2 : i + 3, j - 2 : j + 3] = True
        images[n, :, masks[n, 0]] = -3.0
        images[n, :, i, j] = 50.0
        masks[n, 0, i, j] = False
    cases, patients = (tuple(f"{c}{n // m}" for n in range(8)) for c, m in (("c", 1), ("s", 2)))
    return Slices(images, masks, cases, patients, 2, 3.0)


def test_noise_of_the_right_places_is_borne_and_as_much_elsewhere_is_not() -> None:
    part, settings = spots(), NoiseSettings(unit="input", s_max=2.0)
    inside = settings.inside(part.images)
    about = torch.nn.functional.max_pool2d((part.images[:, :1] > 20).float(), 7, 1, 3) > 0
    noise = torch.where(inside & ~about, 1.0, 0.0)
    controls = controls_of(part, noise, inside, seed=0)
    for name, values in controls.items():
        assert not values[~inside].any(), name
        assert torch.allclose(values.mean((1, 2, 3)), noise.mean((1, 2, 3)), atol=0.02), name
    assert torch.equal(controls["other_subject"][0], torch.where(inside[0], noise[2], 0.0))
    assert controls["image"][0, 0, part.masks[0, 0]].max() == 0  # the dark square comes first
    borne, *others = (
        np.array(tolerance(Around(), part, values, settings, n_draws=2, seed=0))
        for values in (noise, controls["other_subject"], controls["surrogate"], controls["even"])
    )
    assert (borne == 1).all()
    for other in others:
        assert other.mean() < 0.95 and (other <= borne).all()
    everywhere = tolerance(Around(), part, torch.ones_like(noise), settings, n_draws=2, seed=0)
    assert np.mean(everywhere) <= others[-1].mean()


def test_patches_lie_in_the_brain() -> None:
    mean = torch.zeros(20, 20, 20)
    mean[4:16, 4:16, 4:16] = 1.0
    corners = corners_of(mean, 4, 4)
    assert len(corners) == 27
    assert corners.min() >= 4 and corners.max() <= 12


def test_rendered_once_for_each_setting() -> None:
    phantom = Remembering(BrainPhantom(12.0, doses={"cortex": 0.0, "lesions": 0.0}))

    def reads(images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 6:8, 9:11, 8:10].mean((1, 2, 3))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "FINE", 12.0)
        first, second = (model_truth(reads, phantom, 3) for _ in range(2))
        n = len(phantom._seen)
        plain = model_truth(reads, phantom.phantom, 3)
    assert n <= 10  # four mixtures, four ends of which two are mixtures too, and four steps
    assert first.shapley == second.shapley == plain.shapley
    assert torch.equal(first.places.core, plain.places.core) and torch.equal(first.places.allowed, plain.places.allowed)


class _Found:
    def __init__(self, densities: np.ndarray) -> None:
        ones = np.ones(densities.shape[1] + 1)
        self.rows = {
            n: {"regions": {"m": {"n": ones.tolist(), "positive": [*d, 0.0], "negative": [0.0] * len(ones)}}}
            for n, d in enumerate(densities.tolist())
        }


def test_agreement_is_spearmans() -> None:
    rng = np.random.default_rng(1)
    truth = {f"r{k}": float(k) for k in range(12)}
    right = np.abs(np.arange(12) + rng.normal(0, 0.1, (15, 12)))
    patients = [str(n) for n in range(15)]
    exact = agreement(_Found(right), "m", list(truth), truth, patients)  # type: ignore[arg-type]
    assert exact.value == pytest.approx(1.0)
    other = rng.uniform(0, 1, (15, 12))
    means = (other / other.sum(1, keepdims=True)).mean(0)
    found = agreement(_Found(other), "m", list(truth), truth, patients)  # type: ignore[arg-type]
    assert found.value == pytest.approx(spearmanr(means, list(truth.values())).statistic)
    assert found.low < found.value < found.high
    half = {f"r{k}": 2.0 if k >= 6 else 0.5 for k in range(12)}
    assert top_share(_Found(right), "m", list(truth), half, patients).value == 1  # type: ignore[arg-type]
    assert top_share(_Found(right[:, ::-1]), "m", list(truth), half, patients).value == 0  # type: ignore[arg-type]


def test_who_leads_and_that_nothing_leads_for_a_network_that_knows_nothing() -> None:
    def row(region: str, density: float, p: float, t: float = 5.0) -> dict[str, object]:
        return {"region": region, "method": "m", "group": "*", "share": 0.1, "density": density, "low": density - 0.2,
                "t": t, "p_maxT": p}  # fmt: skip

    rows = [
        row("a", 2.0, 0.001),
        row("b", 3.0, 0.001),
        row("c", 5.0, 0.2),
        row("d", 1.1, 0.001),
        row("e", 4.0, 0.01, -3),
    ]
    assert leaders(rows, "m", knows=True) == ["b", "a"]
    assert leaders(rows, "m", knows=False) == []


@pytest.mark.timeout(600)
def test_a_users_tree_with_every_defect_runs_to_a_report(tmp_path: Path) -> None:
    table, path = tree(tmp_path / "data"), tmp_path / "run"
    arguments = command(path, "--data", str(table), *sets("train.patches.size=0"))
    assert main(arguments) == 3
    with (path / "failures.tsv").open(newline="") as stream:
        failed = {r["case"]: r for r in csv.DictReader(stream, dialect="excel-tab")}
    assert set(failed) == set(DEFECTS)
    for case, words in DEFECTS.items():
        assert words in failed[case]["message"], failed[case]
        assert failed[case]["stage"] == "read"
    scores = json.loads((path / "scores.json").read_text())["scores"]
    assert scores["test"]["mae"]["n"] >= 2
    assert "ceiling" not in scores and "nothing" not in scores and "floor_histogram" in scores
    assert "unoise" not in scores and not (path / "models/ventricles").exists()
    page = (path / "report.html").read_text()
    assert "your table" in page and OUTLINE in page and "no outlines of the ventricles" in page
    assert main(arguments) == 3  # told again, and nothing read twice


def test_a_table_without_ages_is_the_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tree(tmp_path / "data", n_good=1, columns=("case", "image", "patient"), defects=False)
    assert main(command(tmp_path / "r", "--data", str(table))) == 2
    assert "without the column age" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_jacobian_travels_as_a_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "FINE", 12.0)
    assert main(command(tmp_path / "run", *sets("data.space=warped", "train.patches.size=0"))) == 0
    model = load_model(tmp_path / "run/models/sfcn-member0")
    assert model.card.inputs[0].channels == 2 and model.card.inputs[0].normalise == "none"
    said = json.loads((tmp_path / "run/scores.json").read_text())["scores"]
    assert said["depends_sfcn-member0"]["change_ventricles"]["value"] != 0
    planted = json.loads((tmp_path / "run/checkpoints/weigh/planted.json").read_text())["rows"]
    shares = {r["region"]: r["share"] for r in planted}
    assert sum(v for k, v in shares.items() if "ventricle" in k) > sum(
        v for k, v in shares.items() if "cerebellum" in k
    )


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_smallest_size_as_it_is(tmp_path: Path) -> None:
    assert main(command(tmp_path / "run")) == 0
    scores = json.loads((tmp_path / "run/scores.json").read_text())["scores"]
    assert scores["test"]["mae"]["n_patients"] == 10 and scores["ceiling"]["pearson_r"]["value"] > 0.9

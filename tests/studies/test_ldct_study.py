"""The low-dose study through the command line: phantoms, and a user's folder with every defect."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from ldct_tree import DEFECTS, tree

from regard.cli import main
from regard.core.errors import CardError
from regard.explainers.generative.detectability import Detectability
from regard.explainers.generative.null_space import hidden_amplitude
from regard.explainers.generative.sampler import read_sampler
from regard.models import load_model
from regard.phantoms.lowdose import Lesion
from regard.studies.config import resolve
from regard.studies.ldct.config import SIZES, LDCTConfig
from regard.studies.ldct.networks import function_of
from regard.studies.ldct.phantoms import uniform_place, varied_place
from regard.studies.ldct.truth import found_structures, gaussian_truth, identity_hides, planted_images, train_ignoring
from regard.testing.two_devices import ACCELERATOR, two_devices

THERE = ("--device", str(ACCELERATOR))
"""Where the networks of the runs here are; a recorder sees that their images are there too."""

TINY = [
    "data.n_train=2", "train.n_steps=6", "train.redcnn_width=2", "train.cnn10_width=4", "explain.n_steps=3",
    "explain.sampler_steps=3", "explain.sampler_patches=12", "explain.n_drawn=3",
    "data.n_draws=5", "explain.n_samples=4", "weigh.n_planted=1", "weigh.planted_samples=1",
    "weigh.planted_steps=2",
]  # fmt: skip


def sets(*more: str) -> list[str]:
    return [part for text in (*TINY, *more) for part in ("--set", text)]


def command(path: Path, *more: str) -> list[str]:
    return ["study", "run", "ldct", "--size", "smoke", *THERE, "-o", str(path), "-q", "--threads", "1", *more]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "run"
    with two_devices() as devices:
        assert main([*command(path), *sets()]) == 0
        assert devices.n_there > 1000
    return path


def test_what_a_run_leaves(finished: Path) -> None:
    for name in ("run.yaml", "report.html", "scores.json", "failures.tsv", "run.log"):
        assert (finished / name).exists(), name
    for card in finished.glob("models/*/card.yaml"):
        assert "simulated: true" in card.read_text(), card
    for sidecar in (finished / "maps").glob("*.json"):
        assert "simulated" not in sidecar.read_text(), sidecar
    said = json.loads((finished / "scores.json").read_text())
    assert (said["schema"], said["study"], said["size"]) == ("regard.scores/1", "ldct", "smoke")
    groups = said["scores"]
    networks = ("cnn10", "redcnn")
    wanted = {"floor_input", "floor_nlm", *networks, "sampler_published", "sampler_difference"}
    wanted |= {f"{k}_{n}" for k in ("invariances", "null_space", "split", "lesions") for n in networks}
    assert wanted | {"truth_planted", "truth_linear", "truth_identity"} == set(groups)
    assert {"rmse", "psnr", "ssim", "vif", "noise", "observer_auc", "rmse_better_than_floor_nlm"} <= set(
        groups["cnn10"]
    )
    assert {"excess_over_identity", "excess_over_gaussian", "rejected"} <= set(groups["invariances_redcnn"])
    assert {"floor_rms", "rejected_at_1"} <= set(groups["sampler_published"])
    assert all(s["n"] is not None and s["unit"] for g in groups.values() for s in g.values())
    assert groups["floor_input"]["rmse"]["value"] > 0
    assert groups["invariances_cnn10"]["rejected"]["value"] == 0
    assert groups["truth_identity"]["largest_distance"]["value"] <= 1.05
    assert not list(finished.rglob("*.ckpt"))
    page = (finished / "report.html").read_text()
    for words in ("for a clinician", "side by side", "Lesions that vanish", "Where the answer is known", "full dose"):
        assert words in page


def test_a_finished_run_is_only_told_again(finished: Path) -> None:
    made = {p: p.stat().st_mtime_ns for p in finished.rglob("*.safetensors")}
    scores = (finished / "scores.json").read_bytes()
    assert main([*command(finished), *sets()]) == 0
    assert made == {p: p.stat().st_mtime_ns for p in finished.rglob("*.safetensors")}
    assert (finished / "scores.json").read_bytes() == scores
    assert main([*command(finished), *sets("train.n_steps=7")]) == 2


def test_the_networks_and_the_sampler_are_as_users_bring_them(finished: Path, tmp_path: Path) -> None:
    model = load_model(finished / "models" / "cnn10")
    x = torch.linspace(-1000, 400, 20 * 20).reshape(1, 1, 20, 20)
    spec = model.card.inputs[0].normalise
    with torch.no_grad():
        found = model.network((x - spec.mean) / spec.std)  # type: ignore[operator]
        assert torch.equal(function_of(model)(x), found)
    # Six steps after a start at the identity: still near the image, in HU.
    assert float((found - x).abs().mean()) < 300
    sampler, _ = read_sampler(finished, weights_sha256=model.weights_sha256)
    assert sampler.sizes.size == 32


def test_settings_are_checked() -> None:
    assert list(SIZES) == ["smoke", "default", "reference", "paper"]
    assert SIZES["paper"].train.networks == ("cnn10", "redcnn", "wgan-vgg", "du-gan")
    assert isinstance(SIZES["default"], LDCTConfig)
    assert SIZES["default"].explain.sampler_patch == SIZES["default"].data.crop == 64
    for setting in ("data.dose=0", "data.kernel=soft", "train.networks=[unet]", "data.target=best"):
        with pytest.raises(CardError, match=setting.partition("=")[0]):
            resolve(SIZES, "default", settings=[setting])


def test_places_are_uniform_or_varied() -> None:
    image = torch.full((1, 40, 40), 60.0)
    image[:, :, 20:] += 200.0 * torch.rand(40, 20, generator=torch.Generator().manual_seed(0))
    assert uniform_place(image, 3, 8)[1] < 16
    assert varied_place(image, 8)[1] >= 20
    assert all(8 <= p <= 32 for p in (*uniform_place(image, 3, 8), *varied_place(image, 8)))


def test_the_hidden_contrast_of_a_lesion_has_a_closed_form() -> None:
    """In the identity, a disc whose largest response is r per HU is seen from tolerance / r on."""
    noise = torch.randn(32, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 20
    outside = Detectability.of_noise(noise, (0.0, 2.0))
    cover = Lesion(0, 0, 4.0, 1.0).cover(32, 1.0).float()
    image = torch.zeros(1, 1, 32, 32)
    unit = float(outside.largest(cover[None, None])[0])
    found = hidden_amplitude(lambda x: x, image, cover, outside, 1.0, 80.0)
    assert found == pytest.approx(1 / unit, rel=1e-4)
    assert hidden_amplitude(lambda x: 0.5 * x, image, cover, outside, 1.0, 80.0) == pytest.approx(2 / unit, rel=1e-4)
    assert hidden_amplitude(lambda x: 0 * x, image, cover, outside, 1.0, 80.0) == 80.0


def test_a_linear_function_gives_the_conditional_gaussian() -> None:
    few, many = gaussian_truth(50), gaussian_truth(800)
    for said, n in ((few, 50), (many, 800)):
        assert said["angle"] < 1e-6 and said["leakage"] < 1e-12 and said["fixed_eigenvalue"] < 1e-20
        spread = math.sqrt(7 / n)
        # Marchenko and Pastur's edges for seven directions of variance 1, a little widened.
        assert (1 - spread) ** 2 * 0.85 < said["smallest_eigenvalue"] <= said["largest_eigenvalue"]
        assert said["largest_eigenvalue"] < (1 + spread) ** 2 * 1.15
        assert said["mean_error"] < 1.8
    assert many["largest_eigenvalue"] < few["largest_eigenvalue"]


def test_the_identity_hides_nothing() -> None:
    assert identity_hides(planted_images(1)) <= 1.05


@pytest.mark.slow
def test_a_denoiser_that_was_taught_to_ignore_rings_is_found_out() -> None:
    network = train_ignoring()
    images = planted_images(6, first=1000)
    ring, discs = found_structures(network, images)
    pairs = [r > d for r in ring for d in discs]
    assert sum(pairs) / len(pairs) >= 0.9


@pytest.mark.slow
def test_a_users_folder_with_every_defect_runs_to_a_report(tmp_path: Path) -> None:
    data, path = tree(tmp_path / "data"), tmp_path / "run"
    assert main([*command(path, "--data", str(data)), *sets("train.patch=24", "weigh.n_planted=0")]) == 3
    with (path / "failures.tsv").open(newline="") as stream:
        failed = {r["case"]: r for r in csv.DictReader(stream, dialect="excel-tab")}
    assert set(failed) == set(DEFECTS)
    for case, words in DEFECTS.items():
        assert words in failed[case]["message"], failed[case]
    scores = json.loads((path / "scores.json").read_text())["scores"]
    assert scores["cnn10"]["rmse"]["n"] == 4 and "rmse_truth" not in scores["cnn10"]
    assert "lesions_cnn10" not in scores and "invariances_cnn10" in scores
    assert "your scans" in (path / "report.html").read_text()

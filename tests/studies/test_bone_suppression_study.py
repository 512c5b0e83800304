"""The bone suppression study: its measures by hand, its pieces, and all of it through the command line."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from radiograph_tree import DEFECTS, tree
from safetensors.torch import save_file
from torch.nn import functional

from regard.cli import main
from regard.core.errors import CardError
from regard.datasets.radiograph_images import saturated_pair
from regard.evidence.restoration import peak_ratio
from regard.io import RunFolder
from regard.models import load_model, write_card
from regard.models.card import ModelCard
from regard.models.case import prepare_case
from regard.models.zoo.bone_suppression import ae_bs, convnet_bs, resnet_bs, rl_bs
from regard.studies.bone_suppression.baselines import baselines, fit_filter
from regard.studies.bone_suppression.config import NETWORKS, SIZES, BoneSuppressionConfig, ScoreSection
from regard.studies.bone_suppression.explain import reach
from regard.studies.bone_suppression.measures import contrast, kept, likenesses, suppression
from regard.studies.bone_suppression.networks import _card, build
from regard.studies.bone_suppression.pairs import Pairs, picture
from regard.studies.bone_suppression.phantoms import again, phantom_pairs
from regard.studies.bone_suppression.preparation import FILTERS, Variation
from regard.studies.bone_suppression.preparation import _filtered as filtered
from regard.studies.config import resolve
from regard.studies.run import StudyRun
from regard.testing.two_devices import ACCELERATOR, two_devices
from regard.training.augmentation import Augmentation
from regard.training.similarity_loss import l1_penalty, similarity_and_error


def pairs(n: int = 6, size: int = 48) -> Pairs:
    """Smooth soft tissue with stripes of bone at the same place in all, and a square finding."""
    generator = torch.Generator().manual_seed(0)
    soft = functional.interpolate(torch.rand(n, 1, 6, 6, generator=generator), (size, size), mode="bilinear") * 0.6
    bone = torch.zeros(size, size)
    bone[::8] = 0.2
    finding = torch.zeros(n, size, size, dtype=torch.bool)
    finding[:, 10:20, 10:20] = True
    ill = soft + 0.1 * finding[:, None]
    names = tuple(f"case-{k}" for k in range(n))
    return Pairs(
        ill + bone, ill, soft + bone, soft, finding, (bone > 0).expand(n, -1, -1), torch.ones_like(finding), names,
        names, ("opacity",) * n,
    )  # fmt: skip


def test_saturated_pixels_are_counted_and_the_twin_follows() -> None:
    images = torch.rand(2, 1, 40, 50) * 7 + 3
    twin = images - 1
    low, other = saturated_pair(images, twin, share=0.01)
    assert int((low[0] == 0).sum()) == pytest.approx(0.01 * 2000, abs=1)
    assert int((low[0] == 1).sum()) == pytest.approx(0.01 * 2000, abs=1)
    inside = (low > 0) & (low < 1) & (other > 0)
    flat = images.flatten(1).sort(1).values
    span = (flat[:, 1979] - flat[:, 20]).reshape(2, 1, 1, 1)
    assert torch.allclose((low - other)[inside], (1 / span).expand_as(low)[inside], atol=1e-5)


@pytest.mark.parametrize("kind", FILTERS)
def test_filters_of_a_pair_are_those_of_each_image(kind: str) -> None:
    pair = torch.rand(1, 2, 9, 9)
    whole = filtered(pair, kind)
    assert torch.equal(whole[:, :1], filtered(pair[:, :1], kind))
    patch = pair[0, 0, 3:6, 4:7]
    by_hand = {
        "none": patch[1, 1],
        "median": patch.median(),
        "maximum": patch.max(),
        "minimum": patch.min(),
        "unsharp": (patch[1, 1] + 0.8 * (patch[1, 1] - patch.mean())).clamp(0, 1),
    }
    assert float(whole[0, 0, 4, 5]) == pytest.approx(float(by_hand[kind]), abs=1e-6)


def test_variation_moves_both_images_alike_and_is_keyed_by_case() -> None:
    image = torch.rand(3, 1, 40, 40)
    variation = Variation(Augmentation(10, True, 0.02, 0.05), True, 24)
    found = variation.apply(torch.cat((image, 0.5 * image), 1), seed=1, cases=[0, 1, 2], epoch=4)
    assert found.shape == (3, 2, 24, 24)
    plain = Variation(Augmentation(10, True, 0.02, 0.05), False, 24)
    moved = plain.apply(torch.cat((image, 0.5 * image), 1), seed=1, cases=[0, 1, 2], epoch=4)
    assert torch.allclose(0.5 * moved[:, 0], moved[:, 1], atol=1e-6)
    alone = variation.apply(torch.cat((image, 0.5 * image), 1)[1:2], seed=1, cases=[1], epoch=4)
    assert torch.equal(alone[0], found[1])
    assert not torch.equal(found, variation.apply(torch.cat((image, 0.5 * image), 1), seed=1, cases=[0, 1, 2], epoch=5))


def test_likenesses_of_the_truth_are_perfect_and_of_a_shift_as_computed_by_hand() -> None:
    wanted = 0.1 + 0.7 * torch.rand(2, 1, 64, 64)
    best = likenesses(wanted, wanted, scales=2)
    for name, value in (("mae", 0), ("ssim", 1), ("ms_ssim", 1), ("histogram_correlation", 1),
                        ("histogram_intersection", 1), ("histogram_chi_squared", 0), ("histogram_bhattacharyya", 0),
                        ("histogram_earth_mover", 0)):  # fmt: skip
        assert best[name].tolist() == pytest.approx([value] * 2, abs=1e-6), name
    shifted = likenesses(wanted + 0.125, wanted, bins=64, scales=2)
    assert shifted["mae"].tolist() == pytest.approx([0.125] * 2, abs=1e-6)
    assert shifted["psnr"].tolist() == pytest.approx([-20 * math.log10(0.125)] * 2, abs=1e-4)
    # A shift by eight bins of 64 moves all mass by an eighth.
    assert shifted["histogram_earth_mover"].tolist() == pytest.approx([0.125] * 2, abs=1e-3)


def test_outputs_without_a_bound_are_clipped_before_they_are_measured() -> None:
    wanted = torch.ones(1, 1, 64, 64)
    found = likenesses(wanted + 3, wanted, scales=2)
    assert found["mae"].tolist() == [0.0]
    assert torch.equal(peak_ratio(wanted, wanted, 1.0), found["psnr"])


def test_suppression_tells_bone_from_the_rest() -> None:
    made = pairs()
    perfect, none = suppression(made.soft, made.soft, made.images), suppression(made.images, made.soft, made.images)
    assert perfect["bone_suppression_ratio"].tolist() == pytest.approx([1.0] * 6)
    assert perfect["bone_removed"].tolist() == pytest.approx([1.0] * 6)
    assert none["bone_suppression_ratio"].tolist() == pytest.approx([0.0] * 6)
    assert none["bone_removed"].tolist() == pytest.approx([0.0] * 6)
    half = suppression(made.images - 0.5 * made.removed, made.soft, made.images)
    assert half["bone_removed"].tolist() == pytest.approx([0.5] * 6, abs=1e-5)
    assert half["bone_suppression_ratio"].tolist() == pytest.approx([0.75] * 6, abs=1e-5)
    assert half["changed_elsewhere"].tolist() == pytest.approx([0.0] * 6, abs=1e-6)
    darker = suppression((made.soft - 0.05).clamp(0, 1), made.soft, made.images)
    assert 0.03 < float(darker["changed_elsewhere"].mean()) <= 0.05 + 1e-6


def test_findings_kept_is_the_share_that_was_kept() -> None:
    made = pairs()
    for share in (0.0, 0.4, 1.0):
        found = made.plain_soft + share * (made.soft - made.plain_soft)
        value = kept(found, made.plain_soft, made.soft, made.plain_soft, made.finding)
        assert value.tolist() == pytest.approx([share] * 6, abs=1e-6)
    assert kept(made.soft, made.plain_soft, made.soft, made.plain_soft, made.finding & False).isnan().all()
    flat = torch.full_like(made.soft, 0.3) + 0.1 * made.finding[:, None]
    assert contrast(flat, made.finding, made.lung).tolist() == pytest.approx([0.1] * 6, abs=1e-6)
    assert contrast(flat, made.finding & False, made.lung).isnan().all()


def test_the_linear_filter_is_the_least_squares_solution() -> None:
    """Soft tissue that is a filter of the radiograph is found again."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(4, 1, 32, 32, generator=generator)
    weight = torch.randn(1, 1, 3, 3, generator=generator) * 0.1
    soft = functional.conv2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), weight) + 0.2
    nothing = torch.zeros(4, 32, 32, dtype=torch.bool)
    names = tuple("abcd")
    made = Pairs(images, soft, images, soft, nothing, nothing, nothing, names, names, ("",) * 4)
    fitted = fit_filter(made, width=5, n_pixels=4000, penalty=1e-9)
    assert torch.allclose(fitted.weight[0, 0, 1:4, 1:4], weight[0, 0], atol=1e-3)
    assert float((fitted(images) - soft).abs().max()) < 1e-3


def test_baselines_take_bone_away_where_it_is_always_the_same() -> None:
    made = pairs()
    found = baselines(made, ScoreSection(filter_width=9, filter_pixels=6000))
    errors = {k: float((f(made.images) - made.soft).abs().mean()) for k, f in found.items()}
    assert errors["mean_bone"] < 1e-6
    assert errors["linear_filter"] < errors["input"]


def test_networks_have_the_published_counts_at_paper_and_fewer_below() -> None:
    wanted = {"ae-bs": 128_961, "convnet-bs": 1_577_089, "rl-bs": 1_578_177, "resnet-bs": 1_219_841}
    for name, n in wanted.items():
        network, _ = build(name, SIZES["paper"].train)
        assert sum(p.numel() for p in network.parameters()) == n
        small, kwargs = build(name, SIZES["smoke"].train)
        # AE-BS is small as it was published.
        assert sum(p.numel() for p in small.parameters()) < n + (name == "ae-bs")
        assert kwargs


@pytest.mark.parametrize("name", NETWORKS)
def test_no_network_sees_further_than_it_is_said_to(name: str) -> None:
    """The gradient of one pixel of the output is zero beyond the reach, whatever the weights."""
    section = SIZES["smoke"].train
    torch.manual_seed(0)
    network, _ = build(name, section)
    far = reach(name, section)
    for place in range(60, 64):
        x = torch.rand(1, 1, 128, 128, requires_grad=True)
        network(x)[0, 0, place, place].backward()
        rows, columns = torch.nonzero(x.grad[0, 0], as_tuple=True)
        assert int((rows - place).abs().max()) <= far
        assert int((columns - place).abs().max()) <= far


def test_a_network_is_handed_a_picture_as_it_was_trained_on_it(tmp_path: Path) -> None:
    """Rows stay rows: `regard explain` and the study's own maps go through the card, training does not."""
    config = resolve(SIZES, "smoke", settings=["data.size=176"])
    cohort = pairs(2, 176)
    image, _ = saturated_pair(cohort.images + torch.linspace(0, 1, 176), cohort.soft, share=config.data.saturated)
    network, kwargs = build("rl-bs", config.train)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    write_card(ModelCard.model_validate(_card("rl-bs", kwargs, cohort, config)), tmp_path / "card.yaml")
    (x,) = prepare_case(load_model(tmp_path), {"image": picture(image[0, 0], "grey")}).inputs.tensors
    assert torch.allclose(x, image[:1], atol=1e-5)
    assert not torch.allclose(x, image[:1].mT, atol=0.1)


def test_a_crop_too_small_for_its_scales_is_refused() -> None:
    with pytest.raises(CardError, match="176 pixels for 5 scales"):
        resolve(SIZES, "default", settings=["train.crop=160"])
    assert resolve(SIZES, "default", settings=["train.crop=160", "train.scales=4"]).train.scales == 4
    with pytest.raises(CardError, match="data.size"):
        resolve(SIZES, "default", settings=["data.size=176", "train.crop=256"])


def test_every_size_resolves() -> None:
    for size in SIZES:
        config = resolve(SIZES, size)
        assert isinstance(config, BoneSuppressionConfig)
        assert config.train.crop <= config.data.size


THERE = ("--device", str(ACCELERATOR))
"""Where the networks of the runs here are; a recorder sees that their images are there too."""

TINY = [
    "data.n_train=2", "data.n_validation=1", "data.n_test=1", "data.n_each=2", "data.prevalence=1.0",
    "train.networks=[rl-bs]", "train.n_epochs=1", "train.narrow=16", "explain.methods=[gradient]",
    "weigh.n_null=3",
]  # fmt: skip


def sets(*more: str) -> list[str]:
    return [part for text in (*TINY, *more) for part in ("--set", text)]


def run(path: Path, *more: str) -> int:
    return main(
        ["study", "run", "bone-suppression", "--size", "smoke", *THERE, "-o", str(path), "-q", "--threads", "1", *more]
    )


@pytest.mark.slow
def test_a_run_on_phantoms_ends_with_a_report_and_resumes(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with two_devices() as devices:
        assert run(path, *sets()) == 0
        assert devices.n_there > 1000
    said = json.loads((path / "scores.json").read_text())
    assert (said["schema"], said["study"], said["size"]) == ("regard.scores/1", "bone-suppression", "smoke")
    groups = said["scores"]
    assert {"rl-bs", "floor_input", "floor_blur", "floor_mean_bone", "floor_linear_filter", "depends"} <= set(groups)
    assert groups["floor_input"]["bone_suppression_ratio"]["value"] == 0
    assert {"mae", "psnr", "ssim", "ms_ssim", "finding_kept", "psnr_above_input"} <= set(groups["rl-bs"])
    assert all(s["n"] is not None and s["unit"] for g in groups.values() for s in g.values())
    page = (path / "report.html").read_text()
    for words in ("for a clinician", "How well bones are taken away", "was not bone", "Which input made this part"):
        assert words in page
    assert not list(path.rglob("*.ckpt"))
    model = load_model(path / "models" / "rl-bs")
    assert model.card.output.kind == "image"
    before = (path / "scores.json").read_bytes()
    assert run(path, *sets()) == 0
    assert (path / "scores.json").read_bytes() == before


@pytest.mark.slow
def test_a_chest_rendered_again_is_itself_until_a_factor_changes(tmp_path: Path) -> None:
    config = resolve(SIZES, "smoke", settings=TINY)
    with RunFolder(tmp_path / "run", "study", {}) as folder:
        study = StudyRun(config, folder)
        test = phantom_pairs(study, config, "test", 1)
        images, own = again(study, config, test.patients[0], [{}, {"bone": 0.0}, {"finding": 0.0}])
    assert torch.allclose(images[:1], test.images, atol=1e-5)
    assert torch.allclose(images[1:2], test.soft, atol=1e-5)
    assert torch.allclose(images[2:], test.plain, atol=1e-5)
    assert set(own) == {"finding", "bone", "marker"}
    assert not torch.equal(test.images, test.soft)


def test_a_folder_of_pairs_with_every_defect_runs_to_a_report(tmp_path: Path) -> None:
    path = tmp_path / "run"
    data = tree(tmp_path / "data")
    code = run(path, "--data", str(data), *sets("train.scales=2", "train.crop=64"))
    assert code == 3
    with (path / "failures.tsv").open(newline="") as stream:
        rows = {r["case"]: r["message"] for r in csv.DictReader(stream, dialect="excel-tab")}
    assert set(rows) == set(DEFECTS)
    for case, words in DEFECTS.items():
        assert words in rows[case], (case, rows[case])
    said = json.loads((path / "scores.json").read_text())["scores"]
    assert said["rl-bs"]["mae"]["n_patients"] >= 2
    assert "depends" not in said
    page = (path / "report.html").read_text()
    assert "the pairs in your folder" in page
    assert "7, told in failures.tsv" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "name"), [(ae_bs, "ae"), (convnet_bs, "convnet"), (rl_bs, "rl"), (resnet_bs, "resnet")]
)
def test_twenty_steps_of_the_full_networks_lower_the_loss(make, name: str) -> None:  # type: ignore[no-untyped-def]
    """Published widths, loss and optimiser, on crops that five scales just take."""
    torch.manual_seed(0)
    network = make()
    wanted = functional.interpolate(torch.rand(1, 1, 11, 11), (176, 176), mode="bilinear")
    images = (wanted + 0.15 * (torch.arange(176) % 16 < 4)[:, None]).clamp(0, 1)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(20):
        with torch.autocast("cpu", torch.bfloat16):
            found = network(images)
        loss = similarity_and_error(found.float(), wanted)
        if name == "convnet":
            loss = loss + l1_penalty(network)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert all(math.isfinite(v) for v in losses)
    # As in a training, the best of the steps counts: the published rate overshoots now and then.
    assert min(losses[1:]) < 0.9 * losses[0]

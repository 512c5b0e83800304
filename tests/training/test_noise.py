"""Noise models: learned over a cohort, resumed, stored, read, and asked whether they learned an atlas."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from regard.core import batching
from regard.core.errors import CardError, FileError, InputError, ShapeError
from regard.core.explainer import Query
from regard.core.inputs import Inputs
from regard.explainers.learned.atlas import atlas_share
from regard.explainers.learned.noise_map import NoiseMap
from regard.explainers.learned.visibility import dice_at_visibility
from regard.models.zoo.unoise import UNoise
from regard.training.noise import fit_noise
from regard.training.noise_files import NoiseModel, read_noise_model
from regard.training.noising import NoiseSettings

SIZE = 16


class Spot(nn.Module):
    """Answers with the mean brightness of the bright ball, wherever it lies: each subject has its own place."""

    def forward(self, x: Tensor) -> Tensor:
        return ((x - 1.5).relu().flatten(1).mean(1) * 40)[:, None]


class Corner(nn.Module):
    """Answers with the mean of one quarter of the image: one place for everyone."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0, : SIZE // 2, : SIZE // 2].flatten(1).mean(1, keepdim=True) * 10


def cohort(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise of standard deviation 0.3 with a ball of brightness 2 to 4 somewhere; and where."""
    generator = torch.Generator().manual_seed(seed)
    images, places = 0.3 * torch.randn(n, 1, SIZE, SIZE, generator=generator), torch.zeros(n, 1, SIZE, SIZE)
    grid = torch.arange(SIZE)
    for i in range(n):
        a, b = torch.randint(3, SIZE - 3, (2,), generator=generator).tolist()
        places[i, 0] = ((grid[:, None] - a) ** 2 + (grid[None] - b) ** 2 <= 6).float()
        images[i] += places[i] * (2 + 2 * torch.rand(1, generator=generator))
    return images, places


@pytest.fixture(scope="module")
def spot() -> NoiseModel:
    images, _ = cohort(96)
    return fit_noise(Spot(), images, n_epochs=16, batch_size=16, strength=0.03, learning_rate=1e-2)


def test_a_learned_map_follows_each_subject(spot: NoiseModel) -> None:
    images, places = cohort(24, seed=1)
    importance = 1 - spot.noise(images)
    inside, outside = importance[places > 0].mean(), importance[places == 0].mean()
    assert inside > outside + 0.3
    assert atlas_share(importance) < 0.2
    assert spot.prediction_change is not None
    assert spot.prediction_change < 0.5 * spot.spread


def test_an_atlas_is_recognised() -> None:
    images, _ = cohort(48)
    made = fit_noise(Corner(), images, n_epochs=16, batch_size=16, strength=0.03, learning_rate=1e-2)
    fresh, _ = cohort(24, seed=1)
    importance = 1 - made.noise(fresh)
    direct = NoiseMap(Corner(), strength=0.03, spread=made.spread, n_steps=60).attribute(fresh[:8])
    corner = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    corner[: SIZE // 2, : SIZE // 2] = True
    # The network looks at one place in everyone, and the direct maps say so.
    assert atlas_share(direct) > 0.9
    assert direct[:, 0, corner].mean() > direct[:, 0, ~corner].mean() + 0.3
    # The noise model has learned that place from the image's edge: its map is an atlas, here rightly.
    assert atlas_share(importance) > 0.9
    assert importance[:, 0, corner].mean() > importance[:, 0, ~corner].mean() + 0.3


def test_a_predictor_of_shuffled_labels_changes_the_map() -> None:
    """Trained with what another network says of them, the same images bear noise elsewhere."""
    images, places = cohort(48)
    shuffled = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 1))
    labels = Spot()(images)[torch.randperm(48, generator=torch.Generator().manual_seed(0))]
    fitted = torch.linalg.lstsq(images.flatten(1), labels).solution
    with torch.no_grad():
        shuffled[1].weight.copy_(fitted.T)
        shuffled[1].bias.zero_()
    direct = NoiseMap(shuffled, strength=0.03, n_steps=60).attribute(images[:8])
    own = NoiseMap(Spot(), strength=0.03, n_steps=60).attribute(images[:8])
    ball = places[:8] > 0
    assert own[ball].mean() - own[~ball].mean() > 0.3
    assert abs(direct[ball].mean() - direct[~ball].mean()) < 0.1


def test_atlas_share_knows_its_ends() -> None:
    rng = np.random.default_rng(0)
    common, own = rng.normal(size=(1, 20, 20)), rng.normal(size=(10, 20, 20))
    assert atlas_share(np.repeat(common, 10, 0)) == pytest.approx(1)
    assert atlas_share(own) == pytest.approx(0, abs=0.02)
    assert atlas_share(common + own) == pytest.approx(0.5, abs=0.06)
    assert np.isnan(atlas_share(np.ones((3, 4))))
    with_holes = np.repeat(common, 10, 0)
    with_holes[3, 2, 2] = np.nan
    assert atlas_share(with_holes) == pytest.approx(1)
    for bad in (common, np.full((3, 4), np.nan)):
        with pytest.raises(ShapeError):
            atlas_share(bad)


def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    images, _ = cohort(12)
    path = tmp_path / "state.ckpt"

    def run(checkpoint: Path | None) -> dict[str, Tensor]:
        return fit_noise(Spot(), images, n_epochs=4, batch_size=4, seed=3, checkpoint=checkpoint).unet.state_dict()

    whole = run(None)

    def stop(_: str, done: int, __: int) -> None:
        if done == 8:
            raise OSError("power cut")

    with pytest.raises(OSError, match="power cut"), batching.reporting(stop):
        run(path)
    assert path.is_file()
    done: list[int] = []
    with batching.reporting(lambda _, n, __: done.append(n)):
        resumed = run(path)
    assert done[0] == 7, "it did not go on after the second epoch"
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    path.write_bytes(b"not a state")
    with pytest.raises(FileError, match="cannot go on"):
        run(path)


def test_training_leaves_the_network_and_the_random_state_alone() -> None:
    images, _ = cohort(6)
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(1)
    )
    network(images)
    network.train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    random = torch.get_rng_state()
    fit_noise(network, images, n_epochs=1, batch_size=3)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert all(m.training for m in network.modules())
    assert torch.equal(random, torch.get_rng_state())


def test_a_stored_model_is_read_and_explains(spot: NoiseModel, tmp_path: Path) -> None:
    folder = spot.save(tmp_path / "noise")
    images, _ = cohort(2, seed=2)
    read = read_noise_model(folder)
    assert torch.equal(read.noise(images), spot.noise(images))
    explainer = NoiseMap(Spot(), model=str(folder))
    assert explainer.knobs()["strength"] == 0.03
    found = explainer.compute(images)
    torch.testing.assert_close(found.relevance[0], 1 - spot.noise(images), atol=1e-6, rtol=0)
    assert str(found.notes["noise"]).startswith("learned over 96 cases, weights ")
    assert explainer.knobs()["model"] == "noise", "a path would leave this machine"
    assert found.notes["lambda"] == pytest.approx(0.03 * spot.spread**2)
    with pytest.raises(InputError, match=r"s_max=3.0 for a noise model that was trained with 1.0"):
        NoiseMap(Spot(), model=str(folder), s_max=3.0)
    with pytest.raises(InputError, match="3 channels for a noise model of 1"):
        explainer.attribute(images.expand(-1, 3, -1, -1))
    with pytest.raises(FileError, match="no folder of a noise model"):
        NoiseMap(Spot(), model=str(tmp_path))
    (folder / "noise.yaml").write_text("schema: regard.noise/1\nsettings: 3\n")
    with pytest.raises(CardError, match="noise.yaml"):
        NoiseMap(Spot(), model=str(folder))


def test_a_model_of_another_network_is_refused(tmp_path: Path) -> None:
    images, _ = cohort(6)
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 1))
    folder = fit_noise(network, images, n_epochs=1).save(tmp_path / "noise")
    NoiseMap(network, model=str(folder))
    with torch.no_grad():
        network[1].weight[0, 0] += 1
    with pytest.raises(InputError, match="another network"):
        NoiseMap(network, model=str(folder))


def test_changed_weights_are_refused(spot: NoiseModel, tmp_path: Path) -> None:
    folder = spot.save(tmp_path / "noise")
    state = load_file(folder / "weights.safetensors")
    save_file({k: v + 1 for k, v in state.items()}, folder / "weights.safetensors")
    with pytest.raises(FileError, match="sha256"):
        NoiseMap(Spot(), model=str(folder))


class Bright(nn.Module):
    """Segments what is bright in the first channel, from its 3 x 3 neighbourhood, where the second one is on."""

    def forward(self, x: Tensor) -> Tensor:
        on = (x[:, 1:] - 50).sigmoid()
        return 4 * on * (nn.functional.avg_pool2d(x[:, :1], 3, 1, 1) - 1) - 4 * (1 - on)


def switched(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images with a ball, on in a half of their own; and where."""
    images, _ = cohort(n, seed)
    on = torch.zeros_like(images)
    for i in range(n):
        on[i, :, : SIZE // 2] = 1
        on[i] = torch.rot90(on[i], i % 4, (1, 2))
    return torch.cat([images, 100 * on], 1), on > 0


def test_u_noise_for_segmentation() -> None:
    images, _ = switched(64, 0)
    network = Bright()
    made = fit_noise(
        network, images, NoiseSettings(s_min=1, s_max=5, unit="input", foreground="all"),
        loss="segmentation", wanted=(network(images) > 0).float(), strength=0.1, n_epochs=12, learning_rate=1e-2,
    )  # fmt: skip
    assert (made.spread, made.estimator, made.prediction_change) == (1, "pathwise", None)
    fresh, on = switched(16, 1)
    noise, truth = made.noise(fresh), (network(fresh) > 0).float()
    assert noise[on].mean() < noise[~on].mean() - 0.3
    # Noise of the learned places costs less than as much (the same mean of log B) spread evenly.
    even = noise.log().mean((1, 2, 3), keepdim=True).exp().expand_as(noise)
    draws = torch.randn(20, *fresh.shape, generator=torch.Generator().manual_seed(0))

    def cost(b: Tensor) -> float:
        noisy = [network(fresh + made.settings.sigma(b) * eta) for eta in draws]
        return float(np.mean([nn.functional.binary_cross_entropy_with_logits(v, truth) for v in noisy]))

    assert cost(noise) < 0.8 * cost(even)
    random = torch.rand(noise.shape, generator=torch.Generator().manual_seed(0))
    shown, chance, hidden = (
        np.nanmean([r.dice for r in dice_at_visibility(network, fresh, truth, b)]) for b in (noise, random, -noise)
    )
    assert shown > chance > hidden


def test_dice_at_visibility_by_hand() -> None:
    class Positive(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :1] - 0.5

    images = torch.ones(1, 2, 2, 4)
    masks = torch.zeros(1, 1, 2, 4)
    masks[..., :2] = 1
    noise = torch.arange(8.0).reshape(1, 1, 2, 4)
    rows = dice_at_visibility(Positive(), images, masks, noise, shares=(0.5, 1.0))
    # The first row is shown: 4 found, 2 of them right, of 4; then all 8, 4 of them right.
    assert [r.dice for r in rows] == pytest.approx([2 * 2 / (4 + 4), 2 * 4 / (8 + 4)])
    assert [r.shown for r in rows] == [0.5, 1.0]
    tied = dice_at_visibility(Positive(), images, masks, torch.ones_like(noise))
    assert tied[0].shown == 1
    assert np.isnan(dice_at_visibility(Positive(), images, 0 * masks, noise)[0].dice)
    with pytest.raises(ShapeError, match="noise of shape"):
        dice_at_visibility(Positive(), images, masks, noise[..., :2])
    with pytest.raises(InputError, match="a share of 0"):
        dice_at_visibility(Positive(), images, masks, noise, shares=(0,))


def test_faults_are_told() -> None:
    images, _ = cohort(4)
    constant = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 1))
    nn.init.zeros_(constant[1].weight)
    with pytest.raises(InputError, match="spread of 0"):
        fit_noise(constant, images)
    with pytest.raises(ShapeError, match="3 labels for 4 images"):
        fit_noise(Spot(), images, wanted=torch.zeros(3))
    with pytest.raises(InputError, match="loss 'l1'"):
        fit_noise(Spot(), images, loss="l1")  # type: ignore[arg-type]


def test_pretrained_start_and_volumes() -> None:
    images = torch.rand(4, 2, 6, 7, 5)
    start = UNoise(3, 2, 1, 4, 2)
    start_state = {k: v.clone() for k, v in start.state_dict().items()}
    network = nn.Sequential(nn.Flatten(), nn.Linear(2 * 6 * 7 * 5, 1))
    made = fit_noise(network, images, NoiseSettings(family="correlated"), start=start, n_epochs=1)
    assert made.unet is start
    assert not torch.equal(start.state_dict()["last.weight"], start_state["last.weight"])
    assert made.noise(images).shape == (4, 1, 6, 7, 5)


def test_a_query_is_not_needed_to_make_a_map(spot: NoiseModel) -> None:
    images, _ = cohort(1)
    query = Query(Spot(), Inputs.of(images))
    assert spot.logits(query.inputs.tensors[0]).shape == (1, 1, SIZE, SIZE)

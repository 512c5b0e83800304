"""Noise maps of single images: their closed form, what they preserve, and what they say of themselves."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regard.core import batching
from regard.core.errors import FileError, InputError, ShapeError
from regard.core.explainer import Query
from regard.core.inputs import Inputs
from regard.explainers.learned.extent import extent_curve
from regard.explainers.learned.noise_map import NoiseMap
from regard.explainers.learned.optimise import Noised, PerImage, optimise_noise
from regard.explainers.learned.probes import estimate_change
from regard.phantoms.oracles import BilinearOracle, LinearOracle
from regard.report.extent import draw_extent_curve
from regard.testing.networks import TinyNetwork, TwoInputs, example
from regard.training.noising import FAMILIES, NoiseSettings, noise_gradient, roughness

SIZES = [(8, 9), (5, 4, 6)]
PLAIN: dict[str, Any] = {"unit": "input", "foreground": "all"}


def normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES, ids=["2d", "3d"])
@pytest.mark.parametrize("strength", [0.02, 0.5])
def test_a_linear_network_bears_the_noise_of_the_closed_form(size: tuple[int, ...], strength: float) -> None:
    weights, x, s, spread = normal(1, *size), normal(1, 1, *size, seed=1), 2.0, 3.0
    network = LinearOracle(weights, 60)
    found = NoiseMap(network, strength=strength, spread=spread, s_max=s, n_steps=300, **PLAIN).compute(x)
    weight, n = strength * spread**2, weights.numel()
    expected = (weight / (2 * n * s**2 * weights**2)).sqrt().clamp(max=1)
    assert 0 < int((expected == 1).sum()) < n, "the case must have both kinds of places"
    noise = 1 - found.relevance[0][0].double()
    assert float(((noise - expected).abs() / expected).max()) < 0.02
    # What is tolerated is known as well: lambda / 2 for each place that does not bear all.
    squared = (s**2 * (weights * expected).square()).sum()
    assert squared <= weight / 2
    assert found.notes["lambda"] == pytest.approx(weight)
    assert found.notes["prediction_change_rms"] == pytest.approx(float(squared.sqrt()), rel=0.5)


def test_both_estimators_come_to_the_closed_form() -> None:
    weights, x = normal(1, 3, 4), normal(1, 1, 3, 4, seed=1)
    expected = (0.1 * 4 / (2 * 12 * weights**2)).sqrt().clamp(max=1)
    settings = {"strength": 0.1, "spread": 2.0, "n_steps": 300, **PLAIN}
    found = NoiseMap(LinearOracle(weights), estimator="pathwise", n_draws=150, **settings).attribute(x)
    torch.testing.assert_close(1 - found[0].double(), expected, rtol=0.1, atol=0)


def literal(function: Any, x: Tensor, sigma: Tensor, reference: float, draws: Tensor) -> Tensor:
    """Derivative of the mean of (f(x + sigma eta) - y)^2 over the draws, by autograd, draw by draw."""
    leaf = sigma.clone().requires_grad_()
    total = sum((function(x + leaf * eta) - reference).square().sum() for eta in draws) / len(draws)
    return torch.autograd.grad(total, leaf)[0]


def test_the_pathwise_derivative_is_that_of_autograd() -> None:
    network, x, sigma = TinyNetwork((3, 4)).eval(), normal(1, 1, 3, 4), normal(1, 1, 3, 4, seed=2).abs()
    eta = normal(5, 1, 3, 4, seed=3)
    y = torch.full((5,), 0.3, dtype=torch.float64)
    losses, slopes = noise_gradient(
        lambda z: network(z[0])[:, 0], [x.expand(5, 1, 3, 4)], [sigma.expand(5, 1, 3, 4)], [eta], y
    )
    expected = literal(network, x, sigma, 0.3, eta[:, None])
    torch.testing.assert_close(slopes[0].mean(0, keepdim=True), expected)
    torch.testing.assert_close(losses, (network(x + sigma * eta)[:, 0] - 0.3).square())


@pytest.mark.parametrize("family", ["gaussian", "correlated"])
def test_the_paired_derivative_is_unbiased_for_a_quadratic_network(family: str) -> None:
    size = (2, 3)
    network, x = BilinearOracle(normal(1, *size), normal(1, *size, seed=1)), normal(1, 1, *size, seed=2)
    settings = NoiseSettings(family=family, unit="input", scales=(0.8,))
    sigma, y, n = normal(1, 1, *size, seed=3).abs(), torch.tensor([0.4], dtype=torch.float64), 20000
    deviation = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    white = normal(n, 1, *size, seed=4)
    # Exact covariance of the noise, from its action on unit images.
    units = torch.eye(6, dtype=torch.float64).reshape(6, 1, *size)
    covariance = settings.covariance(units, deviation, 0).reshape(6, 6)
    assert torch.allclose(covariance.diagonal(), torch.ones(6, dtype=torch.float64))
    eta = (white.reshape(n, 6) @ torch.linalg.cholesky(covariance).T).reshape(n, 1, *size)
    arguments = ([x.expand(n, 1, *size)], [sigma.expand(n, 1, *size)], [eta], y.expand(n))
    value = lambda z: network(z[0])[:, 0]  # noqa: E731
    _, paired = noise_gradient(value, *arguments, [lambda v: settings.covariance(v, deviation, 0)])
    _, pathwise = noise_gradient(value, *arguments)
    mean, other = paired[0].mean(0), pathwise[0].mean(0)
    error = (pathwise[0].std(0).square() + paired[0].std(0).square()).sqrt() / math.sqrt(n)
    assert bool(((mean - other).abs() < 4 * error).all())


def test_the_paired_derivative_is_exact_from_one_draw_for_a_linear_network() -> None:
    weights, x, sigma = normal(2, 3, 3), normal(1, 2, 3, 3, seed=1), normal(1, 1, 3, 3, seed=2).abs()
    eta = normal(1, 2, 3, 3, seed=3)
    value = LinearOracle(weights)
    _, slopes = noise_gradient(lambda z: value(z[0])[:, 0], [x], [sigma], [eta], value(x)[:, 0], [lambda v: v])
    torch.testing.assert_close(slopes[0][0, 0], 2 * sigma[0, 0] * weights.square().sum(0))


@pytest.mark.parametrize("size", SIZES, ids=["2d", "3d"])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_preserves_the_prediction(family: str, size: tuple[int, ...]) -> None:
    found = NoiseMap(TinyNetwork(size), family=family, n_steps=60, n_draws=8).compute(example(size))
    notes = found.notes
    assert notes["prediction_change_rms"] < 0.6 * notes["prediction_change_rms_strongest_noise"]
    assert 0 < notes["mean_noise"] < 1
    assert 0 <= float(found.relevance[0].min()) <= float(found.relevance[0].max()) <= 1


def test_correlated_noise_has_the_strength_of_white_noise_at_every_place() -> None:
    x = torch.zeros(1, 1, 7, 9, dtype=torch.float64)
    settings = NoiseSettings(family="correlated", unit="input", scales=(1.0, 2.5, 6.0))
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    for number in range(3):
        drawn = torch.cat([settings.disturbance(x, one, number, 0, "", str(k)) for k in range(800)])
        assert float((drawn.std(0) - 1).abs().max()) < 0.15
        beside = (drawn[:, 0, 3, 4] * drawn[:, 0, 3, 5]).mean()
        units = torch.eye(63, dtype=torch.float64).reshape(63, 1, 7, 9)
        matrix = settings.covariance(units, one, number).reshape(63, 63)
        assert float(beside) == pytest.approx(float(matrix[3 * 9 + 4, 3 * 9 + 5]), abs=0.15)


def pair(size: int = 24) -> tuple[LinearOracle, Tensor, Tensor]:
    """A wide region of averaged evidence and a small one: raising either by 1 raises the output by 1."""
    weights = torch.zeros(1, size, size, dtype=torch.float64)
    wide, small = torch.zeros(size, size, dtype=torch.bool), torch.zeros(size, size, dtype=torch.bool)
    wide[3:21, 2:14] = True
    small[10:13, 18:21] = True
    weights[0, wide] = 1 / wide.sum()
    weights[0, small] = 1 / small.sum()
    return LinearOracle(weights), wide, small


def test_a_wide_region_of_averaged_evidence_bears_more_noise_than_a_small_one_of_equal_effect() -> None:
    network, wide, small = pair()
    x = normal(1, 1, 24, 24)
    assert float(network(x + wide) - network(x)) == pytest.approx(float(network(x + small) - network(x)))
    white = NoiseMap(network, strength=0.01, spread=1.0, n_steps=200, **PLAIN).attribute(x)[0, 0]
    noise = 1 - white
    # 216 places against 9: each of the wide region bears 24 times the noise.
    assert float(noise[wide].mean() / noise[small].mean()) == pytest.approx(216 / 9, rel=0.03)
    assert float(white[~(wide | small)].abs().max()) < 1e-3
    # Noise that is correlated over a region's width averages out less in the wide one.
    smooth = NoiseMap(
        network, strength=0.01, spread=1.0, n_steps=200, family="correlated", scales=(2.0, 4.0, 8.0), **PLAIN
    ).attribute(x)[0, 0]
    assert 1 < float((1 - smooth)[wide].mean() / (1 - smooth)[small].mean()) < 0.75 * 216 / 9


def test_a_network_that_bears_everything() -> None:
    network = LinearOracle(torch.zeros(1, 4, 5), 3.0)
    for knobs in ({}, {"spread": 2.0}, {"form": "published"}):
        found = NoiseMap(network, **knobs).compute(torch.rand(1, 1, 4, 5))
        assert float(found.relevance[0].abs().max()) == 0
        assert found.notes["prediction_change_rms"] == 0
        assert found.notes["mean_noise"] == 1


def test_the_published_form_is_the_negative_logit() -> None:
    network, x = TinyNetwork((6, 7)), example((6, 7))
    importance = NoiseMap(network, n_steps=40).attribute(x)
    drawn = NoiseMap(network, n_steps=40, form="published").attribute(x)
    expected = torch.where(importance > 0, importance / (1 - importance), 1.0).log().relu()
    inside = NoiseSettings().inside(x)
    torch.testing.assert_close(drawn, expected * inside / expected.max(), rtol=1e-3, atol=1e-4)


def test_noise_lies_on_the_foreground_alone() -> None:
    x = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    x[..., 2:4, 2:5] = 1 + normal(2, 3).abs()
    network = LinearOracle(normal(1, 6, 6, seed=3))
    found = NoiseMap(network, n_steps=20).compute(x)
    assert found.notes["foreground_share"] == pytest.approx(1 / 6)
    assert float(found.relevance[0][x == 0].abs().max()) == 0
    assert float(found.relevance[0][x > 0].min()) > 0
    everywhere = NoiseMap(network, n_steps=20, foreground="all").compute(x)
    assert everywhere.notes["foreground_share"] == 1
    settings = NoiseSettings(foreground=1.5)
    assert torch.equal(settings.inside(x), x > 1.5)
    assert bool(NoiseSettings().inside(torch.rand(1, 1, 20, 20)).all()), "the darkest voxel is no background"
    assert bool(NoiseSettings().inside(torch.ones(2, 1, 3, 3)).all())
    deviation = NoiseSettings().deviation(x, x > 0)
    assert float(deviation) == pytest.approx(float(x[x > 0].std(correction=0)))


def test_s_min_leaves_noise_everywhere() -> None:
    """With U-Noise's s_min of 1, the prediction is not preserved even where the map says that no noise is borne."""
    network, x = LinearOracle(normal(1, 6, 6)), normal(1, 1, 6, 6, seed=1)
    settings = {"strength": 1e-4, "spread": 1.0, "s_max": 5.0, "n_steps": 60, **PLAIN}
    without = NoiseMap(network, s_min=0.0, **settings).compute(x).notes
    published = NoiseMap(network, s_min=1.0, **settings).compute(x).notes
    floor = float(network.weights.square().sum().sqrt())
    assert without["prediction_change_rms"] < 0.1 * floor
    assert published["prediction_change_rms"] > 0.5 * floor


def test_the_label_can_be_preserved_instead() -> None:
    """Noise that shifts a rectified sum towards the label is sought, not avoided."""

    class Rectified(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu().flatten(1).mean(1, keepdim=True)

    x = torch.full((1, 1, 8, 8), -0.5, dtype=torch.float64)
    knobs = {"strength": 1e-4, "spread": 1.0, "s_max": 3.0, "n_steps": 150, "n_draws": 4, **PLAIN}
    own = NoiseMap(Rectified(), **knobs).compute(x).notes
    label = NoiseMap(Rectified(), preserve=0.5, **knobs).compute(x).notes
    assert label["prediction_change_mean"] > own["prediction_change_mean"] + 0.2
    assert label["prediction_change_mean"] == pytest.approx(0.5, abs=0.1)


def test_segmentations_are_preserved_by_their_cross_entropy() -> None:
    class Segmenter(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            logits = 6 * (x - 0.5)
            return torch.cat([logits[..., :4], torch.full_like(logits[..., 4:], -3)], -1)

    x = torch.rand(1, 1, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    explainer = NoiseMap(Segmenter(), loss="segmentation", n_steps=100, n_draws=16)
    assert explainer.estimator == "pathwise"
    found = explainer.compute(x, target=lambda output: output.sigmoid().flatten(1).mean(1))
    noise = 1 - found.relevance[0][0, 0]
    assert noise[:, 4:].mean() > noise[:, :4].mean() + 0.3
    assert found.notes["loss_change_rms"] < found.notes["loss_change_rms_strongest_noise"]


def test_smoothness_and_cells() -> None:
    network, x = TinyNetwork((12, 10)), example((12, 10))
    inside = NoiseSettings().inside(x)
    rough, smooth, coarse = (
        1 - NoiseMap(network, n_steps=60, **k).attribute(x) for k in ({}, {"smoothness": 1.0}, {"cell": 4})
    )
    assert float(roughness(smooth, inside)) < 0.7 * float(roughness(rough, inside))
    assert float(roughness(coarse, inside)) < 0.7 * float(roughness(rough, inside))


def test_roughness_counts_steps_inside() -> None:
    noise = torch.tensor([[[[0.0, 1.0, 5.0], [0.0, 0.5, 5.0]]]])
    inside = torch.tensor([[[[True, True, False], [True, True, False]]]])
    assert float(roughness(noise, inside)) == pytest.approx((1 + 0.5 + 0 + 0.5) / 4)


def test_two_inputs_share_one_budget() -> None:
    """A network that hardly uses its second input lets it bear more."""

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both = TwoInputs((6, 7))

        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return self.both(first, 0.01 * second)

    a, b = example((6, 7), seed=1), example((6, 7), seed=2)
    first, second = NoiseMap(First(), n_steps=60).attribute((a, b))
    assert float(first.mean()) > float(second.mean()) + 0.2


def test_an_interrupted_map_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    network, x = TinyNetwork((6, 7)).eval(), example((6, 7))
    query = Query(network, Inputs.of(x), seed=4, case="a")
    how, path = PerImage(n_steps=30, n_draws=1), tmp_path / "map.state"
    whole = optimise_noise(query, how).noise[0]

    def stop(_: str, done: int, __: int) -> None:
        if done == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), batching.reporting(stop):
        optimise_noise(query, how, checkpoint=path, every=5)
    steps: list[int] = []
    with batching.reporting(lambda _, done, __: steps.append(done)):
        resumed = optimise_noise(query, how, checkpoint=path, every=5).noise[0]
    assert steps[0] == 16
    assert torch.equal(whole, resumed)
    other = Query(network, Inputs.of(x + 1), seed=4, case="a")
    with pytest.raises(FileError, match="another noise map"):
        optimise_noise(other, how, checkpoint=path)
    path.write_bytes(b"nothing")
    with pytest.raises(FileError, match="no state of a noise map"):
        optimise_noise(query, how, checkpoint=path)


def test_draws_are_those_of_case_and_seed() -> None:
    network, x = TinyNetwork((5, 6)), example((5, 6))
    one = NoiseMap(network, n_steps=5)
    assert torch.equal(one.attribute(x, seed=1, case="a"), one.attribute(x, seed=1, case="a"))
    assert not torch.equal(one.attribute(x, seed=1, case="a"), one.attribute(x, seed=1, case="b"))
    assert not torch.equal(one.attribute(x, seed=1, case="a"), one.attribute(x, seed=2, case="a"))


def test_the_change_is_that_of_the_map_itself() -> None:
    weights, x = normal(1, 5, 5), normal(1, 1, 5, 5, seed=1)
    network = LinearOracle(weights)
    noised = Noised(Query(network, Inputs.of(x)), NoiseSettings(unit="input", foreground="all", s_max=2))
    noise = torch.rand(1, 1, 5, 5, dtype=torch.float64)
    changes = noised.changes([noise], "check", 4000)
    assert float(changes.std()) == pytest.approx(float((2 * noise[0] * weights).square().sum().sqrt()), rel=0.05)
    assert float(changes.mean().abs()) < 0.1 * float(changes.std())


def test_the_extent_curve(tmp_path: Path) -> None:
    network, wide, small = pair()
    x = normal(2, 1, 24, 24)
    rows = extent_curve(network, x, strengths=(0.3, 0.001, 0.01), knobs={"spread": 1.0, "n_steps": 80, **PLAIN})
    assert [r.strength for r in rows] == [0.001, 0.01, 0.3]
    assert rows[0].weight == pytest.approx(0.001)
    assert rows[0].n_cases == 2
    assert rows[0].mean_noise < rows[1].mean_noise < rows[2].mean_noise
    assert rows[0].share_important >= rows[1].share_important >= rows[2].share_important
    changes = [r.prediction_change for r in rows]
    assert changes == sorted(changes)
    assert all(r.prediction_change < 1.5 * math.sqrt(r.strength / 2) for r in rows)
    path = draw_extent_curve(rows, tmp_path / "extent.png", unit="years")
    assert path.read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(InputError, match="neither strength nor model"):
        extent_curve(network, x, knobs={"strength": 1.0})
    with pytest.raises(InputError, match="0 lambdas"):
        extent_curve(network, x, strengths=())


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"family": "poisson"}, "noise family 'poisson'"),
        ({"s_min": 2.0}, "s_min=2.0 and s_max=1.0"),
        ({"unit": "HU"}, "unit 'HU'"),
        ({"foreground": "brain"}, "foreground 'brain'"),
        ({"family": "blur", "s_max": 2.0}, "share of at most 1"),
        ({"scales": (1.0, -1.0)}, "scales=-1.0"),
        ({"strength": 0}, "strength=0"),
        ({"preserve": "label"}, "preserve='label'"),
        ({"loss": "l1"}, "loss 'l1'"),
        ({"estimator": "exact"}, "estimator 'exact'"),
        ({"n_steps": 0}, "n_steps=0"),
    ],
)
def test_wrong_knobs_are_told(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NoiseMap(TinyNetwork((4, 4)), **knobs)


def test_a_model_folder_takes_one_input(tmp_path: Path) -> None:
    from regard.training.noise import fit_noise

    single = LinearOracle(torch.ones(1, 8, 8))
    folder = str(fit_noise(single, torch.randn(4, 1, 8, 8), n_epochs=1).save(tmp_path / "m"))

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weights", torch.ones(1, 8, 8))

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return (a + b).flatten(1).sum(1, keepdim=True)

    with pytest.raises(ShapeError, match="2 inputs"):
        NoiseMap(Sum(), model=folder).attribute((torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)))


def test_lambda_and_the_change_of_a_linear_network_are_those_of_the_closed_form_for_every_seed() -> None:
    """f = w.x: the strongest noise changes it by |s w| (root mean square), and the map's own noise by |s B w|."""
    weights, x, s = normal(1, 8, 9), normal(1, 1, 8, 9, seed=1), 2.0
    for seed in range(5):
        found = NoiseMap(LinearOracle(weights, 60), s_max=s, n_steps=150, **PLAIN).compute(x, seed=seed)
        notes, noise = found.notes, 1 - found.relevance[0][0].double()
        squared = float((s * weights).square().sum())
        assert notes["lambda"] == pytest.approx(0.1 * squared, rel=1e-6)
        assert notes["prediction_change_rms_strongest_noise"] == pytest.approx(math.sqrt(squared), rel=1e-6)
        assert notes["prediction_change_rms"] == pytest.approx(float((s * noise * weights).norm()), rel=1e-5)
        assert notes["prediction_change_mean"] == pytest.approx(0, abs=1e-6)
        assert max(v for k, v in notes.items() if k.endswith("standard_error")) < 1e-3 * notes["lambda"]
        assert notes["n_probes"] == 64


@pytest.mark.parametrize("linear_share", [0.0, 0.5, 0.95])
def test_the_error_of_a_change_is_its_spread_over_repetitions(linear_share: float) -> None:
    """Changes a L + b (Q^2 - 1) + b of normal L and Q: mean b, mean square a^2 + 3 b^2; 400 repetitions of 64 draws."""
    a, b = linear_share, 1 - linear_share
    drawn = normal(400, 2, 64, seed=5)
    found = [
        estimate_change(a * line + b * other.square(), line if a else None, torch.ones(64).double() if a else None)
        for line, other in drawn
    ]
    for value, error, truth in (("mean", "mean_error", b), ("mean_square", "mean_square_error", a**2 + 3 * b**2)):
        values = torch.tensor([getattr(f, value) for f in found])
        errors = torch.tensor([getattr(f, error) for f in found])
        assert float(values.mean()) == pytest.approx(truth, abs=4 * float(values.std()) / 20)
        assert float(errors.square().mean().sqrt() / values.std()) == pytest.approx(1, abs=0.15)
    roots = torch.tensor([f.rms for f in found])
    assert float(torch.tensor([f.rms_error for f in found]).mean() / roots.std()) == pytest.approx(1, abs=0.35)


def test_the_derivative_makes_the_figures_of_a_network_less_noisy() -> None:
    network, x = TinyNetwork((8, 9)).eval(), example((8, 9))
    strongest, plain, errors = [], [], []
    for seed in range(24):
        noised = Noised(Query(network, Inputs.of(x), seed=seed), NoiseSettings(s_max=0.5))
        change = noised.everywhere()
        strongest.append(change.mean_square)
        errors.append(change.mean_square_error)
        inside = [k.to(x) for k in noised.inside]
        plain.append(float(noised.changes(inside, "everywhere").square().mean()))
    truth = float(
        Noised(Query(network, Inputs.of(x), seed=99), NoiseSettings(s_max=0.5)).changes(inside, "everywhere", 20000)
        .square().mean()
    )  # fmt: skip
    spread = torch.tensor(strongest).std()
    assert spread < 0.7 * torch.tensor(plain).std()
    assert float(torch.tensor(strongest).mean()) == pytest.approx(
        truth, abs=4 * float(spread) / math.sqrt(24) + 0.02 * truth
    )
    assert float(torch.tensor(errors).mean() / spread) == pytest.approx(1, abs=0.4)


def test_what_a_stated_spread_leaves_no_doubt_of_has_no_error() -> None:
    found = NoiseMap(TinyNetwork((6, 7)), spread=2.0, n_steps=5).compute(example((6, 7))).notes
    assert found["lambda_standard_error"] == 0
    assert NoiseMap(TinyNetwork((6, 7)), n_steps=5).compute(example((6, 7))).notes["lambda_standard_error"] > 0

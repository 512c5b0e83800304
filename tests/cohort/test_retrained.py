"""A network's rank among those of shuffled labels: exact under exchange, and blind to nothing."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from regard.cohort.retrained import check_retrained, rank_test
from regard.cohort.retraining import TRUE_LABELS, Learn, retrain
from regard.core.errors import InputError
from regard.models import Model, load_model
from regard.models.card import ModelCard
from regard.models.zoo.small import SmallRegressor
from regard.training.retraining import Recipe, drawn_anew, train_from_scratch

CARD = ModelCard.model_validate(
    {
        "name": "small",
        "zoo": "small-regressor",
        "kwargs": {"widths": [2]},
        "weights": "weights.safetensors",
        "inputs": [{"name": "image", "orientation": "PL"}],
        "output": {"kind": "regression", "names": ["age"], "units": ["year"]},
    }
)


def _images(n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return x, 60 + 10 * x.mean((1, 2, 3))


def test_p_is_brute_force_over_the_networks() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 5))
    values[0, 2] += 4
    found = rank_test(values[0], values[1:])
    z = np.array(
        [[(v - np.delete(c, k).mean()) / np.delete(c, k).std(ddof=1) for k, v in enumerate(c)] for c in values.T]
    )
    np.testing.assert_allclose(found.t, z[:, 0])
    expected = [np.mean([np.abs(z[:, k]).max() >= abs(z[r, 0]) - 1e-12 for k in range(20)]) for r in range(5)]
    np.testing.assert_allclose(found.p, expected)
    assert found.p[2] == 1 / 20 and "19 networks" in found.test
    np.testing.assert_allclose(rank_test(values[0], values[1:][::-1]).p, found.p)


def test_it_is_wrong_as_often_as_it_says_whatever_the_values_and_their_dependence() -> None:
    """Exchangeable networks, heavy tails, regions that share what they have: 1 in 20 at the least p of 19 networks."""
    wrong = 0
    for k in range(400):
        rng = np.random.default_rng(k)
        values = rng.standard_t(2, (20, 16)) + rng.exponential(size=(20, 1)) * np.arange(16)
        wrong += bool((rank_test(values[0], values[1:]).p <= 0.05).any())
    assert stats.binom.ppf(0.001, 400, 0.05) <= wrong <= stats.binom.ppf(0.999, 400, 0.05)


def test_a_kind_that_spreads_wider_is_not_called_more_often_with_its_like_among_the_others() -> None:
    """Untrained networks spread three times as wide: among the others alone they are called far too often."""
    alone = beside = 0
    for k in range(300):
        rng = np.random.default_rng(k)
        shuffled, untrained, own = rng.normal(size=(19, 16)), 3 * rng.normal(size=(19, 16)), 3 * rng.normal(size=16)
        alone += bool((rank_test(own, shuffled).p <= 0.05).any())
        beside += bool((rank_test(own, np.concatenate([shuffled, untrained])).p <= 0.05).any())
    assert alone > 150 and beside <= stats.binom.ppf(0.999, 300, 0.05)


def test_a_region_without_values_or_without_spread_is_left_out() -> None:
    values = np.random.default_rng(1).normal(size=(25, 4))
    values[3, 1] = np.nan
    values[:, 2] = 7
    found = rank_test(values[0], values[1:])
    assert np.isnan(found.p).tolist() == [False, True, True, False]
    assert np.isnan(rank_test(values[0, 1:3], values[1:, 1:3]).p).all()


def test_too_few_networks_are_refused() -> None:
    values = np.random.default_rng(1).normal(size=(19, 4))
    with pytest.raises(InputError, match="at least 19"):
        rank_test(values[0], values[1:])


def test_weights_are_drawn_anew_by_every_layer() -> None:
    network = SmallRegressor(2, widths=(2, 3))
    kept = {k: v.clone() for k, v in network.state_dict().items()}
    fresh = drawn_anew(network, 3)
    assert all(torch.equal(v, kept[k]) for k, v in network.state_dict().items()), "the network stays as it is"
    assert not torch.equal(fresh.state_dict()["head.weight"], kept["head.weight"])
    again = drawn_anew(network, 3)
    assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), again.parameters(), strict=True))

    class Loose(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(1))

    with pytest.raises(InputError, match="gain"):
        drawn_anew(Loose(), 0)


def test_a_training_answers_in_the_labels_unit_and_learns() -> None:
    x, y = _images(24)
    trained = train_from_scratch(SmallRegressor(2, widths=(2,)), x, y, Recipe(n_epochs=20, batch_size=8), seed=0)
    with torch.no_grad():
        read = trained(x)[:, 0]
    assert abs(float(read.mean() - y.mean())) < 3 * float(y.std())

    class Ends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = SmallRegressor(2, widths=(2,))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x).exp()

    with pytest.raises(InputError, match="last linear layer"):
        train_from_scratch(Ends(), x, y, Recipe(n_epochs=1), seed=0)
    with pytest.raises(InputError, match="labels that differ"):
        train_from_scratch(SmallRegressor(2, widths=(2,)), x, 0 * y, Recipe(n_epochs=1), seed=0)


def test_networks_are_kept_as_they_come_and_go_on(tmp_path) -> None:  # type: ignore[no-untyped-def]
    x, y = _images()
    model = Model(SmallRegressor(2, widths=(2,)), CARD)
    recipe = Recipe(n_epochs=1, batch_size=6)
    made = retrain(model, Learn(x, y), tmp_path / "a", recipe, n_networks=2, seed=4)
    assert [p.name for p in made] == [
        TRUE_LABELS, "shuffled-001", "shuffled-002", "untrained-001", "untrained-002",
    ]  # fmt: skip
    kept = [(p / "weights.safetensors").read_bytes() for p in made]
    assert len(set(kept)) == 5
    # As after a process that died in the second training: what has a card stays, the rest is made again, to the bit.
    (made[1] / "card.yaml").unlink()
    before = (made[2] / "weights.safetensors").stat().st_mtime_ns
    retrain(model, Learn(x, y), tmp_path / "a", recipe, n_networks=2, seed=4)
    assert [(p / "weights.safetensors").read_bytes() for p in made] == kept
    assert (made[2] / "weights.safetensors").stat().st_mtime_ns == before
    read = load_model(made[1])
    assert "shuffled" in read.card.notes


def test_what_cannot_be_its_own_network_is_refused() -> None:
    def one(widths: tuple[int, ...], seed: int) -> Model:
        torch.manual_seed(seed)
        return Model(SmallRegressor(2, widths=widths).eval(), CARD)

    own, others = one((2,), 0), [one((2,), k + 1) for k in range(19)]
    check_retrained(own, others)
    with pytest.raises(InputError, match="at least 19"):
        check_retrained(own, others[:18])
    with pytest.raises(InputError, match="same architecture"):
        check_retrained(own, [*others[:18], one((3,), 5)])
    with pytest.raises(InputError, match="same weights"):
        check_retrained(own, [*others[:18], own])
    with pytest.raises(InputError, match="same weights"):
        check_retrained(own, [*others[:18], others[0]])

"""Every method explains one row per case: never a sum of classes, a column or another case's output."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regard.core.batching import BatchSize
from regard.core.errors import RowsError, TargetError
from regard.explainers import METHODS
from regard.testing.networks import example

BATCHES: tuple[BatchSize, ...] = (1, 2, "auto")
QUICK: dict[str, dict[str, Any]] = {
    "noise-map": {"n_steps": 2, "n_draws": 2},
    "rise": {"n_masks": 8},
    "lime": {"n_samples": 16, "n_segments": 6},
    "shapley": {"n_segments": 4, "n_samples": 2},
    "integrated-gradients": {"n_steps": 3},
    "smoothgrad": {"n_samples": 3},
    "lam": {"n_steps": 3},
    "occlusion": {"window": 3},
}
READ_NO_ATTENTION = [n for n in METHODS if not getattr(METHODS.load(n), "reads_attention", False)]
TOGETHER = sorted(name for name in METHODS if METHODS.load(name).cases_together)


class Network(nn.Module):
    """Two convolutions and what ``end`` makes of their features (batch, 2, row, column)."""

    def __init__(self, end: Callable[["Network", Tensor], Any]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.features = nn.Sequential(
                nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1), nn.Softplus()
            )
            self.head = nn.Linear(2, 3)
            self.wide = nn.Linear(2 * 36, 3)
        self.end = end
        self.double()

    def forward(self, x: Tensor) -> Any:
        return self.end(self, self.features(x))


def classes(network: Network, features: Tensor) -> Tensor:
    return network.head(features.mean((2, 3)))  # type: ignore[no-any-return]


def squeezed(network: Network, features: Tensor) -> Tensor:
    return classes(network, features).squeeze()


def in_a_dict(network: Network, features: Tensor) -> dict[str, Tensor]:
    return {"logits": squeezed(network, features)}


def bare_image(_: Network, features: Tensor) -> Tensor:
    return features.mean(1, keepdim=True).squeeze()


def slices(network: Network, features: Tensor) -> Tensor:
    """A row per image row: slices folded into the batch."""
    return network.head(features.mean(3).transpose(1, 2).reshape(-1, 2))  # type: ignore[no-any-return]


WRONG: dict[str, tuple[Callable[[Network, Tensor], Any], Any]] = {
    "squeezed": (squeezed, 1),
    "squeezed and in a dict": (in_a_dict, 1),
    "an image without batch and channel": (bare_image, 3),
    "slices in the batch": (slices, 1),
    "a function that gives all classes": (classes, lambda output: output[0]),
    "a function of a squeezed output": (squeezed, lambda output: output),
    "a function that gives a number": (classes, lambda output: output.sum()),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", list(METHODS))
def test_a_case_without_a_row_of_its_own_is_refused_by_every_method(name: str, kind: str) -> None:
    end, target = WRONG[kind]
    for batch_size in BATCHES:
        explainer = METHODS.load(name)(Network(end), **QUICK.get(name, {}))
        with pytest.raises(RowsError, match=r"for 1 case|and 1 case"):
            explainer.attribute(example((6, 6)), target, batch_size=batch_size)


@pytest.mark.parametrize("name", TOGETHER)
def test_a_network_that_squeezes_is_right_or_refused_at_a_batch_of_two(name: str) -> None:
    x = example((6, 6), 2)
    found = METHODS.load(name)(Network(squeezed)).attribute(x, 1)
    torch.testing.assert_close(found, METHODS.load(name)(Network(classes)).attribute(x, 1))
    with pytest.raises(TargetError):
        METHODS.load(name)(Network(bare_image)).attribute(x, 1)


@pytest.mark.parametrize("name", [n for n in READ_NO_ATTENTION if n != "deeplift"])
def test_a_network_that_takes_one_case_alone_is_explained_one_by_one(name: str) -> None:
    """By hand reshaped to one row: several cases at once fail, or (third) come out as one row."""
    x = example((6, 6), 2)

    def one_row(network: Network, features: Tensor) -> Tensor:
        return network.wide(features.view(1, -1))  # type: ignore[no-any-return]

    def each(network: Network, features: Tensor) -> Tensor:
        return network.wide(features.flatten(1))  # type: ignore[no-any-return]

    def over_the_batch(network: Network, features: Tensor) -> Tensor:
        return network.head(features.mean((0, 2, 3)))[None]  # type: ignore[no-any-return]

    knobs = QUICK.get(name, {})
    for end, right in ((one_row, each), (over_the_batch, classes)):
        found = METHODS.load(name)(Network(end), **knobs).attribute(x, 1)
        wanted = METHODS.load(name)(Network(right), **knobs).attribute(x, 1)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", READ_NO_ATTENTION)
def test_one_number_squeezed_to_nothing_is_one_case(name: str) -> None:
    def number(network: Network, features: Tensor) -> Tensor:
        return classes(network, features)[:, :1].squeeze()

    knobs = QUICK.get(name, {})
    found = METHODS.load(name)(Network(number), **knobs).attribute(example((6, 6)))
    wanted = METHODS.load(name)(Network(classes), **knobs).attribute(example((6, 6)), 0)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)

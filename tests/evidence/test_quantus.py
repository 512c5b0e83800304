"""Measures of Regard with the signature of a Quantus metric; Quantus itself is not needed."""

import inspect

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import regard
from regard.core.errors import InputError, ShapeError
from regard.core.quantity import Quantity, Sign
from regard.core.target import Output
from regard.evidence import MEASURES
from regard.evidence.faithfulness.deletion_insertion import Deletion
from regard.evidence.measure import Exhibit
from regard.evidence.quantus import QuantusMetric
from regard.explainers.as_quantus import ExplainFunction
from regard.testing.networks import TinyNetwork, example

SIZE = (8, 9)


@pytest.fixture
def regressor() -> nn.Module:
    return TinyNetwork(SIZE)


@pytest.fixture
def x() -> np.ndarray:
    return example(SIZE, 2).numpy()


def ages(n: int = 2) -> np.ndarray:
    return np.linspace(60.0, 70.0, n)


def test_the_arguments_are_those_of_a_quantus_metric() -> None:
    """Order and names of `quantus.metrics.base.Metric.__call__`, version 0.6."""
    names = list(inspect.signature(QuantusMetric("gini")).parameters)
    assert names[:5] == ["model", "x_batch", "y_batch", "a_batch", "s_batch"]
    rest = {"channel_first", "explain_func", "explain_func_kwargs", "model_predict_kwargs", "softmax", "device"}
    assert rest | {"batch_size", "custom_batch"} == set(names[5:])


def test_a_regressor_of_one_output_has_no_constant_curve(regressor: nn.Module, x: np.ndarray) -> None:
    """Where a softmax of the only output would make every step 1, ours moves by the output's own amounts."""
    maps = ExplainFunction("integrated-gradients")(regressor, x, ages())
    found = QuantusMetric(Deletion(n_parts=24, n_steps=8)).measured(regressor, x, ages(), maps)
    with torch.no_grad():
        values = regressor.eval()(torch.from_numpy(x)).flatten()
    for one, value in zip(found, values, strict=True):
        curve = one.curve["largest first/blur"]
        assert float(curve[0]) == pytest.approx(float(value))
        assert float(curve.max() - curve.min()) > 0.1
        assert one.value > 0.1
    assert found[0].unit == "output"


def test_a_softmax_of_one_number_is_refused(regressor: nn.Module, x: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"softmax=True for an output of shape \(1, 1\)"):
        QuantusMetric("deletion")(regressor, x, ages(), np.ones((2, 1, *SIZE)), softmax=True)


def test_a_softmax_of_several_is_the_probability(x: np.ndarray) -> None:
    network = TinyNetwork(SIZE, n_outputs=3)
    maps = np.random.default_rng(0).normal(size=(2, 1, *SIZE))
    curve = QuantusMetric("deletion").measured(network, x, [2, 0], maps, softmax=True)[0].curve["largest first/mean"]
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(x)).softmax(1)[0, 2]
    assert float(curve[0]) == pytest.approx(float(expected))


def test_it_is_the_measure_itself(regressor: nn.Module, x: np.ndarray) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 1, *SIZE))
    found = QuantusMetric("deletion", spread=2.0, sign=Sign.RAISES)(regressor, x, ages(), maps)
    for n in range(2):
        exhibit = Exhibit(
            regressor,
            torch.from_numpy(x[n : n + 1]),
            Output(0),
            torch.from_numpy(maps[n : n + 1]),
            Quantity.CONTRIBUTION,
            Sign.RAISES,
            case=str(n),
            spread=2.0,
        )
        assert found[n] == Deletion().measure(exhibit).value


@pytest.mark.parametrize("name", list(MEASURES))
def test_every_measure_is_a_metric_or_says_what_is_missing(name: str, regressor: nn.Module, x: np.ndarray) -> None:
    explain = ExplainFunction("gradient")
    truth = np.zeros((2, 1, *SIZE), dtype=bool)
    truth[:, :, 2:4, 2:5] = True
    metric = QuantusMetric(name, sign=Sign.RAISES)
    if name == "agreement":
        with pytest.raises(InputError, match="others, which Quantus has no place for"):
            metric(regressor, x[:1], ages(1), None, truth[:1], explain_func=explain)
        return
    found = metric(model=regressor, x_batch=x[:1], y_batch=ages(1), s_batch=truth[:1], explain_func=explain)
    assert len(found) == 1
    assert isinstance(found[0], float)


def test_truth_is_counted(regressor: nn.Module, x: np.ndarray) -> None:
    maps = np.zeros((2, *SIZE))
    maps[:, 2:4, 2:5] = 1
    truth = maps > 0
    assert QuantusMetric("relevance-mass")(regressor, x, ages(), maps, truth) == [1.0, 1.0]
    assert QuantusMetric("relevance-mass")(regressor, x, ages(), maps, ~truth) == [0.0, 0.0]


def test_labels_say_which_output_is_measured(x: np.ndarray) -> None:
    network = TinyNetwork(SIZE, n_outputs=2)
    maps = ExplainFunction("gradient")(network, x, [1, 0])
    by_label = QuantusMetric("deletion", sign=Sign.RAISES)(network, x, [1, 0], maps)
    first = QuantusMetric("deletion", target=Output(1), sign=Sign.RAISES)(network, x[:1], [0], maps[:1])
    assert by_label[0] == first[0]


def test_what_does_not_fit_is_one_sentence(regressor: nn.Module, x: np.ndarray) -> None:
    maps = np.ones((2, 1, *SIZE))
    with pytest.raises(InputError, match="neither a_batch nor explain_func"):
        QuantusMetric("deletion")(regressor, x, ages())
    with pytest.raises(InputError, match="RelevanceMass without all .* s_batch"):
        QuantusMetric("relevance-mass")(regressor, x, ages(), maps)
    with pytest.raises(ShapeError, match="maps of shape"):
        QuantusMetric("deletion")(regressor, x, ages(), maps[..., 1:])
    with pytest.raises(InputError, match="not finite"):
        QuantusMetric("deletion")(regressor, x, ages(), maps * np.nan)


def test_the_network_is_left_as_it_was(x: np.ndarray) -> None:
    network = TinyNetwork(SIZE)
    network.train()
    before: dict[str, Tensor] = {k: v.clone() for k, v in network.state_dict().items()}
    QuantusMetric("deletion")(network, x, ages(), None, explain_func=ExplainFunction(regard.Gradient))
    assert network.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())

"""Expected gradients: references as tensors and as cases, the remainder within its error, and refusals."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import regard
from regard.core.errors import ReferenceInputError, ShapeError
from regard.explainers.gradient.expected_gradients import ExpectedGradients
from regard.explainers.gradient.integrated_gradients import IntegratedGradients
from regard.models import Model, ModelCard
from regard.testing.networks import TinyNetwork, example

SIZE = (6, 7)


def test_many_draws_are_integrated_gradients_averaged_over_the_references() -> None:
    network, x, references = TinyNetwork(SIZE), example(SIZE), example(SIZE, 4, seed=5)
    expected = torch.stack([IntegratedGradients(network).attribute(x, reference=r[None]) for r in references]).mean(0)
    found = ExpectedGradients(network, references=references, n_samples=600, tolerance=None).compute(x)
    z = ((found.relevance[0] - expected) / found.standard_error[0])[expected != 0]
    assert float(z.abs().max()) < 5
    assert 0.6 < float(z.square().mean().sqrt()) < 1.4
    assert abs(float(found.completeness_error)) < 4 * found.notes["completeness_standard_error"]
    assert found.notes["completeness_standard_error"] < 0.1 * abs(float(found.value))
    assert found.notes["reference"] == "the mean over 4 cases"


def test_it_stops_where_it_is_resolved() -> None:
    network, x, references = TinyNetwork(SIZE), example(SIZE), example(SIZE, 4, seed=5)
    used = [
        ExpectedGradients(network, references=references, n_samples=400, tolerance=t).compute(x).notes["n_samples_used"]
        for t in (0.3, None)
    ]
    assert used[0] < used[1] == 400


def test_several_inputs_take_one_case_each_time() -> None:
    """f = a b: with each reference's own pair, and never one case's a with another's b."""
    pair = tuple(torch.tensor(v, dtype=torch.float64).reshape(2, 1, 1) for v in ([0.0, 4.0], [0.0, 4.0]))
    x = tuple(torch.full((1, 1, 1), v, dtype=torch.float64) for v in (2.0, 6.0))
    method = ExpectedGradients(lambda a, b: (a * b).flatten(1).sum(1), references=pair, n_samples=4000, tolerance=None)
    found = method.compute(x)
    assert float(found.reference_value) == 8
    # From (0, 0): 6 each; from (4, 4): (2 - 4) 5 = -10 and (6 - 4) 3 = 6.
    for relevance, error, expected in zip(found.relevance, found.standard_error, (-2, 6), strict=True):
        assert abs(float(relevance) - expected) < 4 * float(error)


def test_references_that_do_not_fit_are_refused() -> None:
    network, x = TinyNetwork(SIZE), example(SIZE)
    with pytest.raises(ShapeError, match=r"references of \[\(2, 1, 3, 3\)\]"):
        ExpectedGradients(network, references=torch.zeros(2, 1, 3, 3)).attribute(x)
    with pytest.raises(ReferenceInputError, match="a reference beside 2 references"):
        ExpectedGradients(network, references=example(SIZE, 2)).attribute(x, reference=0.0)
    with pytest.raises(ReferenceInputError, match="--reference-cases"):
        ExpectedGradients(network, references="table.tsv")


class Total(nn.Module):
    """Sum of squares."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().flatten(1).sum(1)


def test_scans_of_other_cases_are_prepared_as_the_case_is(tmp_path: Path) -> None:
    card = ModelCard.model_validate(
        {
            "name": "total",
            "inputs": [{"name": "image", "shape": [4, 4, 4], "spacing_mm": [1, 1, 1], "fit": "crop-pad"}],
            "output": {"kind": "regression", "names": ["sum"], "units": ["a.u."]},
        }
    )
    flipped = np.diag([-1.0, 1.0, 1.0, 1.0])
    flipped[0, 3] = 3
    tensors = [torch.rand(1, 4, 4, 4, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    scan, one = regard.Volume(tensors[0], np.eye(4)), regard.Volume(tensors[1], np.eye(4))
    other = regard.Volume(tensors[2].flip(1), flipped)
    spec = "expected-gradients:n_samples=3000,tolerance=null"
    found = regard.explain(Model(Total(), card), scan, spec, reference_cases=[one, other])
    level = sum(float(t.square().sum()) for t in tensors[1:]) / 2
    assert found.reference["value"] == pytest.approx(level, rel=1e-5)
    assert found.reference["label"] == "the mean over 2 cases"
    expected = sum(tensors[0] ** 2 - t**2 for t in tensors[1:]) / 2
    off = (found.relevance.tensor - expected).abs() / found.standard_error.tensor
    assert float(off.max()) < 5
    with pytest.raises(ReferenceInputError, match="2 reference cases for gradient, which compares with one"):
        regard.explain(Model(Total(), card), scan, "gradient", reference_cases=[one, other])

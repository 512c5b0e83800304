"""Shapley methods: parts that are given, columns one by one, errors that are as large as they say, and refusals."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import regard
from regard.core.errors import InputError, ShapeError
from regard.core.explainer import AbstractExplainer
from regard.explainers.from_captum import ShapleySampling
from regard.explainers.perturbation.kernel_shap import KernelSHAP
from regard.explainers.perturbation.shapley_exact import ShapleyExact
from regard.models import Model, ModelCard
from regard.testing.networks import TinyNetwork, example

ALL = [ShapleyExact, KernelSHAP, ShapleySampling]


class Mixed(nn.Module):
    """Mean of an image times one column, plus another column, and a third that does nothing."""

    def forward(self, image: Tensor, vector: Tensor) -> Tensor:
        return image.flatten(1).mean(1) * vector[:, 0] + 5 * vector[:, 1]


@pytest.mark.parametrize("method", ALL)
def test_each_column_of_a_vector_plays_on_its_own(method: type) -> None:
    image, vector = torch.full((1, 1, 4, 4), 3.0), torch.tensor([[2.0, 1.0, 9.0]])
    knobs = {"n_samples": 400, "tolerance": None} if method is ShapleySampling else {}
    explainer = method(Mixed(), parts=torch.zeros(4, 4), **knobs)
    found = explainer.compute((image, vector), reference=(torch.zeros(1, 1, 4, 4), torch.zeros(1, 3)))
    drawn, columns = found.relevance
    assert columns.shape == (1, 3)
    allowed = 4 * float(found.standard_error[1].max()) if method is ShapleySampling else 1e-5
    assert columns[0].tolist() == pytest.approx([3, 5, 0], abs=allowed)
    assert float(drawn.sum()) == pytest.approx(3, abs=allowed)


@pytest.mark.parametrize("method", ALL)
def test_parts_are_the_labels_that_were_given(method: type) -> None:
    """A linear function: each region's value is its sum, and what no label covers is one region too."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(42, 1)).double()
    labels = torch.tensor([0, 7, 7, 3, 3, 3]).repeat(7).reshape(6, 7)
    x = example((6, 7))
    found = method(network, parts=labels).compute(x, reference=0.25)
    parts = network[1].weight.detach().reshape(6, 7) * (x[0, 0] - 0.25)
    for label in (0, 3, 7):
        inside = found.relevance[0][0, 0][labels == label].double()
        assert float(inside.sum()) == pytest.approx(float(parts[labels == label].sum()), abs=1e-5)
        assert float(inside.max() - inside.min()) == 0


@pytest.mark.parametrize("method", ALL)
def test_blocks_are_of_equal_size(method: type) -> None:
    knobs = {"n_segments": 4} if method is ShapleySampling else {"n_parts": 4}
    found = method(TinyNetwork((8, 8)), parts="blocks", **knobs).attribute(example((8, 8)))
    for i in (0, 4):
        for j in (0, 4):
            assert float(found[0, 0, i : i + 4, j : j + 4].std()) == 0
    assert len(found.unique()) == 4


def test_the_error_of_drawn_values_is_as_large_as_it_says() -> None:
    """Over seeds, the distance to the exact values divided by the stated error has a spread near 1."""
    network, x = TinyNetwork((6, 6)), example((6, 6))
    labels = torch.arange(36).reshape(6, 6) // 4
    exact = ShapleyExact(network, parts=labels).attribute(x)
    off = []
    for seed in range(60):
        found = KernelSHAP(network, parts=labels, n_samples=100).compute(x, seed=seed)
        off.append(((found.relevance[0] - exact) / found.standard_error[0])[0, 0].flatten()[::4])
    spread = float(torch.stack(off).square().mean().sqrt())
    assert 0.8 < spread < 1.25
    assert KernelSHAP(network, parts=labels).compute(x).notes["coalitions"] == "all"


def test_one_part_has_all() -> None:
    for method in (ShapleyExact, KernelSHAP):
        found = method(TinyNetwork((6, 6)), parts=torch.zeros(6, 6)).compute(example((6, 6)))
        assert float(found.relevance[0].sum()) == pytest.approx(float(found.value - found.reference_value), rel=1e-5)


def test_more_than_twelve_parts_are_refused() -> None:
    with pytest.raises(InputError, match="13 parts .*; expected at most 12.*; .*kernel-shap"):
        ShapleyExact(TinyNetwork((13,)), parts=torch.arange(13)).attribute(example((13,)))


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(InputError, match="n_samples=20 for 13 parts; expected at least 52"):
        KernelSHAP(TinyNetwork((13,)), parts=torch.arange(13), n_samples=20).attribute(example((13,)))


@pytest.mark.parametrize("method", ALL)
def test_labels_of_another_shape_are_one_sentence(method: type) -> None:
    with pytest.raises(ShapeError, match=r"of shape \(5, 5\) .*regard.explain"):
        method(TinyNetwork((6, 7)), parts=torch.zeros(5, 5)).attribute(example((6, 7)))
    with pytest.raises(InputError, match="parts=supervoxel; expected one of"):
        method(TinyNetwork((6, 7)), parts="supervoxel").attribute(example((6, 7)))


@pytest.fixture
def atlas(tmp_path: Path) -> Path:
    """Two regions on a grid twice as coarse as the scan's, and flipped."""
    labels = np.zeros((4, 4, 4), dtype=np.int16)
    labels[:3], labels[3:] = 1, 2
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [6.5, 0.5, 0.5]
    nibabel.save(nibabel.Nifti1Image(labels, affine), tmp_path / "atlas.nii.gz")
    return tmp_path / "atlas.nii.gz"


@pytest.mark.parametrize("name", ["shapley-exact", "kernel-shap", "shapley"])
def test_regions_of_an_atlas_are_carried_to_the_scan(name: str, atlas: Path) -> None:
    """The sum of one region, on the side where the affine puts it."""

    class Left(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, :2].flatten(1).sum(1)

    card = ModelCard.model_validate(
        {
            "name": "left",
            "inputs": [{"name": "image", "shape": [8, 8, 8], "spacing_mm": [1, 1, 1], "fit": "crop-pad"}],
            "output": {"kind": "regression", "names": ["sum"], "units": ["a.u."]},
        }
    )
    tensor = torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(0)) + 1
    scan = regard.Volume(tensor, np.eye(4))
    found = regard.explain(Model(Left(), card), scan, f"{name}:parts={atlas}", reference=0.0)
    drawn = found.relevance.tensor[0]
    assert float(drawn[:2].sum()) == pytest.approx(float(tensor[0, :2].sum()), rel=1e-5)
    assert float(drawn[2:].abs().max()) < 1e-6
    assert float(drawn[:2].std()) < 1e-6
    assert found.knobs["parts"] == "atlas.nii.gz"


def test_all_take_an_abstract_query_in_float32(tmp_path: Path) -> None:
    for method in ALL:
        assert issubclass(method, AbstractExplainer)
        network = TinyNetwork((6, 7)).float()
        found = method(network, parts="blocks").attribute(example((6, 7)).float().repeat(2, 1, 1, 1))
        torch.testing.assert_close(found[0], found[1])

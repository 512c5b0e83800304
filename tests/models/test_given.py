"""Models and images as people have them, in Python."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.networks.nets import DenseNet, UNet
from torch import nn

import regard
from regard.core.errors import InputError, RegardError, ShapeError
from regard.models.given import as_model, as_region, as_volume, n_axes_of

AFFINE = np.array([[0.0, -2, 0, 5], [3, 0, 0, -7], [0, 0, 4, 11], [0, 0, 0, 1]])


def densenet(n: int, outputs: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return DenseNet(n, 1, outputs, init_features=4, growth_rate=2, block_config=(1, 1))


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(16, 18, 14)).astype(np.float32)


def given(values: np.ndarray, folder: Path) -> dict[str, Any]:
    """One scan in every form that carries its place."""
    image = nibabel.Nifti1Image(values, AFFINE)
    nibabel.save(image, folder / "scan.nii.gz")
    tensor = torch.from_numpy(values)
    return {
        "volume": regard.Volume(tensor[None], AFFINE),
        "path": folder / "scan.nii.gz",
        "text": str(folder / "scan.nii.gz"),
        "nibabel": image,
        "metatensor": MetaTensor(tensor[None], affine=torch.from_numpy(AFFINE)),
        "batch of one": MetaTensor(tensor[None, None], affine=torch.from_numpy(AFFINE)),
    }


def test_every_form_of_a_scan_gives_the_same_map_at_the_same_place(values: np.ndarray, tmp_path: Path) -> None:
    network = densenet(3)
    maps = {name: regard.explain(network, scan, "gradient") for name, scan in given(values, tmp_path).items()}
    maps["array"] = regard.explain(network, values, "gradient", affine=AFFINE)
    maps["tensor"] = regard.explain(network, torch.from_numpy(values)[None, None], "gradient", affine=AFFINE)
    first = maps["volume"]
    for name, one in maps.items():
        assert np.array_equal(one.numpy(), first.numpy()), name
        assert np.allclose(one.scan.affine, AFFINE), name
    # And it is the derivative that autograd gives.
    x = torch.from_numpy(values)[None, None].requires_grad_()
    network.eval()
    network(x).sum().backward()
    assert x.grad is not None
    assert np.allclose(first.numpy(), x.grad[0, 0].numpy(), atol=1e-7)


@pytest.mark.parametrize("lead", [(), (1,), (1, 1)])
def test_a_flat_array_is_rows_and_columns(lead: tuple[int, ...]) -> None:
    network, rows = densenet(2, 3), torch.rand(24, 20)
    found = regard.explain(network, rows.reshape(*lead, 24, 20), "gradient", target="logit:2")
    x = rows[None, None].clone().requires_grad_()
    network.eval()
    network(x)[0, 2].backward()
    assert x.grad is not None
    assert found.numpy().shape == (24, 20, 1)
    assert np.allclose(found.numpy()[..., 0], x.grad[0, 0].numpy(), atol=1e-7)
    assert not found.scan.has_geometry


def test_what_was_taken_for_granted_is_told_before_the_map(values: np.ndarray) -> None:
    found = regard.explain(densenet(3), values, "gradient")
    assert any("DenseNet has no card" in w and "regression" in w for w in found.warnings)
    assert as_model(densenet(2, 3), as_volume(np.zeros((20, 20)), n_axes=2)).card.output.kind == "classification"
    unet = UNet(3, 1, 2, (4, 8), (2,))
    assert as_model(unet, as_volume(np.zeros((16, 16, 16)))).card.output.kind == "segmentation"


def test_the_network_is_left_as_it_was(values: np.ndarray) -> None:
    network = densenet(3).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    regard.explain(network, values, "gradient")
    assert network.training
    assert all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_regions_and_references_may_be_arrays(values: np.ndarray) -> None:
    network, inside = densenet(3), np.zeros(values.shape, bool)
    inside[4:9, 4:9, 4:9] = True
    masked = regard.explain(network, values, "occlusion:window=6", mask=inside)
    assert np.isnan(masked.numpy()[~inside]).all()
    assert np.isfinite(masked.numpy()[inside]).all()
    unet = UNet(3, 1, 1, (4, 8), (2,))
    region = np.zeros((16, 16, 16))
    region[4:8] = 1
    found = regard.explain(unet, np.random.default_rng(0).normal(size=(16, 16, 16)), "gradient", target=region)
    assert found.target == "mean:region"
    compared = regard.explain(network, values, "integrated-gradients:n_steps=4", reference=np.zeros_like(values))
    assert compared.reference is not None
    assert "the scan's places" in str(_refused(lambda: as_region(np.ones((3, 3)), as_volume(values))))


def test_an_array_to_compare_with_lies_where_the_scan_lies(values: np.ndarray) -> None:
    """Told by a network whose card turns the scan's axes, and by a reference of its own kind."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Flatten(), nn.LazyLinear(1))
    other = np.random.default_rng(1).normal(size=values.shape).astype(np.float32)
    affine = np.diag([-2.0, 3, 4, 1])
    card = regard.ModelCard(name="m", inputs=[{"orientation": "RAS"}], output={"kind": "regression"})  # type: ignore[list-item,arg-type]
    with torch.no_grad():
        network(torch.zeros(1, 1, *values.shape))
    model, method = regard.Model(network, card), "integrated-gradients:n_steps=4"
    scan = nibabel.Nifti1Image(values, affine)
    placed = regard.Volume(torch.from_numpy(other)[None], affine)
    wanted = regard.explain(model, scan, method, reference=placed).numpy()
    for reference in (other, torch.from_numpy(other)[None], nibabel.Nifti1Image(other, affine)):
        assert np.allclose(regard.explain(model, scan, method, reference=reference).numpy(), wanted, atol=1e-6)
    beside = regard.explain(model, values, method, affine=affine, reference=nibabel.Nifti1Image(other, affine))
    assert np.allclose(beside.numpy(), wanted, atol=1e-6)
    assert "the scan's places" in str(_refused(lambda: regard.explain(model, scan, method, reference=other[1:])))
    flat = regard.explain(densenet(2), torch.rand(24, 20), method, reference=torch.zeros(1, 24, 20))
    assert flat.reference is not None


def _refused(call: Any) -> RegardError:
    with pytest.raises(RegardError) as caught:
        call()
    return caught.value


def test_what_cannot_be_told_is_asked_for_in_one_sentence(values: np.ndarray) -> None:
    network = densenet(3)
    assert isinstance(_refused(lambda: regard.explain(network, [1, 2], "gradient")), InputError)  # type: ignore[call-overload]
    assert isinstance(_refused(lambda: regard.explain(None, values, "gradient")), InputError)  # type: ignore[call-overload]
    two = _refused(lambda: regard.explain(network, torch.rand(2, 1, 16, 16, 16), "gradient"))
    assert isinstance(two, ShapeError)
    assert "one case at a time" in str(two)
    assert "one slice" in str(_refused(lambda: regard.explain(densenet(2), as_volume(values), "gradient")))
    wrong = _refused(lambda: regard.explain(network, np.zeros((3, 16, 16, 16)), "gradient"))
    assert "fails on this scan" in str(wrong)
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4, 3)), np.eye(4))
    assert "slicer" in str(_refused(lambda: as_volume(image)))
    assert "affine=" in str(_refused(lambda: as_volume(image, affine=np.eye(4))))


def test_axes_are_read_from_convolutions() -> None:
    assert n_axes_of(densenet(2)) == 2
    assert n_axes_of(densenet(3)) == 3
    assert n_axes_of(nn.Linear(3, 1)) is None

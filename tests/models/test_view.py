"""What is not the image that a network was made for is refused, or told: volumes, single slices, padding, no CT."""

import numpy as np
import pytest
import torch

from regard.core.errors import GeometryError, ShapeError
from regard.core.volume import PIXEL_AFFINE, Volume
from regard.models import InputSpec, Preparation

RANDOM = torch.Generator().manual_seed(3)
THREE = InputSpec(orientation="RAS")


def of(*shape: int, affine: np.ndarray | None = None, unit: str = "intensity") -> Volume:
    return Volume(torch.rand(shape, generator=RANDOM), np.eye(4) if affine is None else affine, unit)


def test_three_volumes_are_not_turned_to_luminance() -> None:
    with pytest.raises(ShapeError, match=r"3 channels; expected 1 for.*--volume N \(0 to 2.*--input NAME=FILE"):
        Preparation(THREE).prepare(of(3, 6, 6, 6))
    one = of(3, 6, 6, 6).channel(2)
    assert torch.equal(Preparation(THREE).prepare(one).tensor[0], one.tensor)
    with pytest.raises(ShapeError, match="volume 3 of an image of 3; expected 0 to 2"):
        of(3, 6, 6, 6).channel(3)


def test_a_reference_of_three_volumes_is_refused_too() -> None:
    prepared = Preparation(THREE).prepare(of(1, 6, 6, 6))
    with pytest.raises(ShapeError, match="--volume N"):
        prepared.with_reference(of(3, 6, 6, 6))


def test_colours_of_a_picture_still_have_a_luminance() -> None:
    picture = Volume(torch.rand(3, 5, 4, 1, generator=RANDOM), PIXEL_AFFINE, has_geometry=False)
    assert Preparation(InputSpec(orientation="PL")).prepare(picture).tensor.shape == (1, 1, 4, 5)


@pytest.mark.parametrize("fit", ["resize", "crop-pad"])
def test_one_slice_is_not_a_volume(fit: str) -> None:
    spec = InputSpec(orientation="RAS", shape=(32, 32, 32), fit=fit)
    with pytest.raises(GeometryError, match="one voxel along S, for a network that looks at 32 there"):
        Preparation(spec).prepare(of(1, 32, 32, 1))
    # A network that takes any number of slices takes one.
    assert Preparation(THREE).prepare(of(1, 32, 32, 1)).tensor.shape == (1, 1, 32, 32, 1)


def test_padding_is_stated_and_refused_beyond_the_bound() -> None:
    spec = InputSpec(orientation="RAS", shape=(40, 40, 40), fit="crop-pad")
    padded = Preparation(spec).prepare(of(1, 40, 40, 20))
    assert "50 % of the network's view is padding, off the image" in padded.warnings
    assert Preparation(spec).prepare(of(1, 40, 40, 40)).warnings == ()
    # 11 ** 3 of 40 ** 3 voxels are 2.08 %, 10 ** 3 are 1.56 %; the bound is 2 %.
    assert Preparation(spec).prepare(of(1, 11, 11, 11)).warnings == (
        "98 % of the network's view is padding, off the image",
    )
    with pytest.raises(GeometryError, match=r"10 x 10 x 10 voxels that fills 1\.6 % of the network's view"):
        Preparation(spec).prepare(of(1, 10, 10, 10))


def test_a_few_slices_stretched_over_many_are_told() -> None:
    spec = InputSpec(orientation="RAS", shape=(32, 32, 32))
    assert (
        "along S each of 2 voxels becomes 16 of the network's" in Preparation(spec).prepare(of(1, 32, 32, 2)).warnings
    )
    assert Preparation(spec).prepare(of(1, 32, 32, 8)).warnings == ()


def test_an_mr_in_a_network_for_ct_is_told() -> None:
    spec = InputSpec(orientation="RAS", unit="HU", window=(-200.0, 400.0), normalise={"low": 0.0, "high": 1.0})
    head = of(1, 6, 6, 6)
    assert any("no voxel is below -200 HU" in w for w in Preparation(spec).prepare(head).warnings)
    ct = head.with_tensor(head.tensor * 1500 - 1000)
    assert Preparation(spec).prepare(ct).warnings == ()


def test_a_constant_image_is_told() -> None:
    flat = of(1, 6, 6, 6).with_tensor(torch.full((1, 6, 6, 6), 7.0))
    assert any("one value everywhere" in w for w in Preparation(THREE).prepare(flat).warnings)
    # Padding around it does not hide it.
    padded = InputSpec(orientation="RAS", shape=(12, 12, 12), fit="crop-pad", window=(0.0, 10.0))
    assert any("one value everywhere" in w for w in Preparation(padded).prepare(flat).warnings)

"""Grey levels have no unit: those of 12 or 16 bits are brought to the levels that a card was made for, or refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import regard
from regard.core.errors import InputError
from regard.core.stored import Stored
from regard.core.volume import PIXEL_AFFINE, Volume
from regard.models import InputSpec, Preparation

EIGHT = InputSpec(orientation="PL", unit="grey level", normalise={"mean": 127.5, "std": 127.5})


def picture(high: float, *, top: float = 1.0) -> Volume:
    """A ramp from 0 to ``top`` of what a file of levels 0 to ``high`` holds."""
    ramp = torch.linspace(0, high * top, 60).reshape(1, 6, 10, 1)
    return Volume(ramp, PIXEL_AFFINE, "grey level", has_geometry=False, stored=Stored(levels=(0.0, high)))


def test_eight_bits_are_as_they_were() -> None:
    prepared = Preparation(EIGHT).prepare(picture(255))
    assert (float(prepared.tensor.min()), float(prepared.tensor.max())) == (-1.0, 1.0)
    assert prepared.warnings == ()


@pytest.mark.parametrize("high", [4095.0, 65535.0])
@pytest.mark.parametrize(
    "spec", [EIGHT, InputSpec(orientation="PL", window=(0, 255), normalise={"low": -1, "high": 1})]
)
def test_deeper_levels_come_to_the_range_of_the_card(high: float, spec: InputSpec) -> None:
    prepared = Preparation(spec).prepare(picture(high))
    assert torch.allclose(prepared.tensor, Preparation(spec).prepare(picture(255)).tensor, atol=1e-5)
    assert prepared.warnings == (f"grey levels of 0 to {high:g} were brought to the network's 0 to 255",)
    assert torch.allclose(prepared.with_reference(picture(255)), prepared.tensor, atol=1e-5)


def test_a_file_of_16_bits_that_holds_12_is_refused() -> None:
    with pytest.raises(InputError, match=r"holds 0 to 65535, and whose brightest value is 4096.*as 8 bits"):
        Preparation(EIGHT).prepare(picture(65535, top=4096 / 65535))


def test_a_card_says_its_levels() -> None:
    deep = InputSpec(orientation="PL", unit="grey level", levels=(0, 4095), normalise="none")
    assert float(Preparation(deep).prepare(picture(4095)).tensor.max()) == 4095
    up = Preparation(deep).prepare(picture(255))
    assert float(up.tensor.max()) == pytest.approx(4095)
    assert up.warnings[0] == "grey levels of 0 to 255 were brought to the network's 0 to 4095"
    silent = InputSpec(orientation="PL", unit="grey level", normalise="none")
    with pytest.raises(InputError, match=r"from 0 to 4095, for a network whose card does not say its range"):
        Preparation(silent).prepare(picture(4095))
    # A window beyond 8 bits was made for such files; scaling by the image's own numbers needs no range.
    for spec in (InputSpec(orientation="PL", window=(0, 4000)), InputSpec(orientation="PL", normalise="zscore")):
        assert Preparation(spec).prepare(picture(4095)).warnings == ()


def test_a_16_bit_png_is_told_apart_from_one_of_8(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 60).reshape(6, 10)
    Image.fromarray((ramp * 65535).astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray((ramp * 255).round().astype(np.uint8)).save(tmp_path / "flat.png")
    deep, flat = (regard.read(tmp_path / f"{name}.png") for name in ("deep", "flat"))
    assert (deep.stored.levels, flat.stored.levels) == ((0, 65535), (0, 255))
    inputs = [Preparation(EIGHT).prepare(v).tensor for v in (deep, flat)]
    assert torch.allclose(*inputs, atol=0.5 / 127.5)


def test_a_card_without_levels_is_written_as_before_there_were_any() -> None:
    assert "levels" not in EIGHT.model_dump(mode="json")
    assert InputSpec(levels=(0, 4095)).model_dump(mode="json")["levels"] == [0, 4095]

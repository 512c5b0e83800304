"""What one input of a network must look like: an image of one to three axes, or a signal."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from regard.models.normalise_spec import Normalise, Standard, WindowRange

__all__ = ["InputSpec", "Strict"]

_MOST_VOXELS = 2**29
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


class Strict(BaseModel):
    """A part of a card: no unknown key, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSpec(Strict):
    """What one input of a network must look like.

    Parameters
    ----------
    name
        Keyword of the input when there are several.
    rate_hz
        Of a signal: samples a second [Hz], to which it is resampled; None for any. Its one axis is time.
    leads
        Of a signal: names of the channels in the network's order, taken from the recording by name.
    channels
        Number of channels; a 1-channel image is repeated for 3, a picture in colours is turned to its luminance for 1.
    orientation
        Anatomical direction in which each tensor axis runs: three letters for a 3D network (``"RAS"``), two for a 2D
        one (``"PL"``: rows run to posterior, columns to the patient's left). None keeps the scan's axes.
    spacing_mm
        Voxel size per tensor axis [mm], or None for any.
    shape
        Number of voxels per tensor axis, or None for any.
    fit
        ``"resize"``: the whole field of view to the shape, linear and antialiased; ``"crop-pad"``: centred, at its
        spacing or rate (the default with a rate).
    rounding
        ``"whole"``: intensities are rounded to whole numbers after resampling each axis, as picture libraries do with
        8-bit pictures; some networks that were trained on those depend on it. ``"none"`` otherwise.
    unit
        Unit that the intensities must have.
    levels
        Lowest and highest grey level of the images that it was made for, such as ``[0, 255]``; images of other bits are
        brought to them. Only for images in grey levels, which have no other unit.
    window
        Intensities are clipped to these two, or None.
    normalise
        How they are scaled after that.
    """

    name: str = "image"
    rate_hz: Annotated[float, Field(gt=0, lt=1e9)] | None = None
    leads: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    channels: Annotated[int, Field(ge=1)] = 1
    orientation: str | None = None
    spacing_mm: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    shape: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    fit: Literal["resize", "crop-pad"] = "resize"
    rounding: Literal["none", "whole"] = "none"
    unit: str = "intensity"
    levels: tuple[float, float] | None = None
    window: tuple[float, float] | None = None
    normalise: Normalise = "none"

    @model_validator(mode="before")
    @classmethod
    def _of_signals(cls, value: Any) -> Any:
        """Of a signal, the number of channels is that of its leads, and a shape cuts or pads."""
        if not isinstance(value, Mapping):
            return value
        leads = value.get("leads")
        said: dict[str, Any] = {"channels": len(leads)} if isinstance(leads, (list, tuple)) and leads else {}
        said |= {"fit": "crop-pad"} if value.get("rate_hz") is not None else {}
        return {**said, **value}

    @field_validator("orientation")
    @classmethod
    def _letters(cls, value: str | None) -> str | None:
        if value is None:
            return None
        letters = value.upper()
        axes = {frozenset((c, _OPPOSITE.get(c, c))) for c in letters}
        if not 1 <= len(letters) <= 3 or set(letters) - set(_OPPOSITE) or len(axes) != len(letters):
            raise ValueError("letters of different axes, one per tensor axis, such as RAS or PL")
        return letters

    @field_validator("window", "levels")
    @classmethod
    def _rising(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError("two rising numbers")
        return value

    @model_validator(mode="after")
    def _agree(self) -> "InputSpec":
        lengths = {len(v) for v in (self.orientation, self.spacing_mm, self.shape) if v is not None}
        if len(lengths) > 1 or max(lengths, default=1) > 3:
            raise ValueError("orientation, spacing_mm and shape with one entry per tensor axis, as many in each")
        if self.is_signal and (self.orientation is not None or self.spacing_mm is not None or lengths - {1}):
            raise ValueError("no orientation, no spacing_mm and one entry of shape beside rate_hz or leads")
        if self.rate_hz is not None and self.shape is not None and self.fit == "resize":
            raise ValueError("fit: crop-pad beside rate_hz and shape, for resizing would change the rate")
        if self.leads is not None and len(set(self.leads)) != self.channels:
            raise ValueError(f"{self.channels} different names of leads, one for each channel")
        if self.channels * math.prod(self.shape or (1,)) > _MOST_VOXELS:
            raise ValueError(f"at most {_MOST_VOXELS} voxels in all channels of shape")
        if isinstance(self.normalise, WindowRange) and self.window is None:
            raise ValueError("a window, which normalise: {low, high} needs")
        if isinstance(self.normalise, Standard):
            for values in (self.normalise.mean, self.normalise.std):
                if isinstance(values, tuple) and len(values) != self.channels:
                    raise ValueError(f"one mean and one std for each of {self.channels} channels, or one for all")
        return self

    @model_serializer(mode="wrap")
    def _without_unsaid_levels(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A card that says none of these is the card that it was before there were any: runs of it go on.
        content: dict[str, Any] = plain(self)
        for key in ("levels", "rate_hz", "leads"):
            if content.get(key) is None:
                content.pop(key, None)
        return content

    @property
    def is_signal(self) -> bool:
        """Whether the input is a signal, by its rate or its leads."""
        return self.rate_hz is not None or self.leads is not None

    @property
    def steps(self) -> tuple[float, ...] | None:
        """Step along each tensor axis: of an image its spacing [mm], of a signal the time of a sample [s]; or None."""
        return self.spacing_mm if self.rate_hz is None else (1 / self.rate_hz,)

    @property
    def n_axes(self) -> int:
        """Number of spatial axes of the network's input."""
        if self.is_signal:
            return 1
        return next((len(v) for v in (self.orientation, self.shape, self.spacing_mm) if v is not None), 3)

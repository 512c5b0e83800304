"""How a card says that intensities are scaled."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, field_validator

__all__ = ["TAGS", "Normalise", "NormaliseName", "QuantileRange", "Standard", "WindowRange"]

NormaliseName: TypeAlias = Literal["none", "zscore", "zscore-foreground", "minmax"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowRange(_Strict):
    """The window goes to ``low`` .. ``high``."""

    low: float
    high: float


class Standard(_Strict):
    """Minus ``mean``, divided by ``std``: numbers of the training data, for all channels or one per channel."""

    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]

    @field_validator("std")
    @classmethod
    def _not_zero(cls, value: float | tuple[float, ...]) -> float | tuple[float, ...]:
        if 0 in (value if isinstance(value, tuple) else (value,)):
            raise ValueError("numbers other than 0")
        return value


class QuantileRange(_Strict):
    """These two quantiles of the image go to 0 and 1; nothing is clipped."""

    quantiles: tuple[float, float]

    @field_validator("quantiles")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] < value[1] <= 1:
            raise ValueError("two rising numbers from 0 to 1")
        return value


def _kind_of_normalise(value: Any) -> str:
    if isinstance(value, Mapping):
        return "quantiles" if "quantiles" in value else "mean, std" if {"mean", "std"} & set(value) else "low, high"
    kinds: dict[type, str] = {QuantileRange: "quantiles", Standard: "mean, std", WindowRange: "low, high"}
    return kinds.get(type(value), "name")


TAGS = ("name", "low, high", "mean, std", "quantiles")
"""What pydantic puts after the key ``normalise`` in an error; users never wrote it."""

Normalise: TypeAlias = Annotated[
    Annotated[NormaliseName, Tag("name")]
    | Annotated[WindowRange, Tag("low, high")]
    | Annotated[Standard, Tag("mean, std")]
    | Annotated[QuantileRange, Tag("quantiles")],
    Discriminator(_kind_of_normalise),
]
"""How intensities are scaled: by the image's own numbers (a name, quantiles) or by fixed ones."""

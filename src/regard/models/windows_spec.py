"""What a card says of a network that is run window by window."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["SlidingWindowSpec"]


class SlidingWindowSpec(BaseModel):
    """How a network that sees windows is run over an image.

    Parameters
    ----------
    roi
        Size of a window along each tensor axis, in voxels.
    overlap
        Share of a window that the next one covers too.
    blend
        ``"gaussian"`` or ``"constant"`` weights where windows overlap.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    roi: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1, max_length=3)
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    blend: Literal["gaussian", "constant"] = "gaussian"

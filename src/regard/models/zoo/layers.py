"""Layers of torch for any number of spatial axes."""

from torch import nn

from regard.core.errors import ShapeError

__all__ = ["layer"]


def layer(name: str, spatial_dims: int) -> type[nn.Module]:
    """Class of a torch layer, such as ``"Conv"`` or ``"BatchNorm"``, for images of so many axes.

    Raises
    ------
    ShapeError
        If torch has no such layer for so many axes.
    """
    found = getattr(nn, f"{name}{spatial_dims}d", None)
    if found is None:
        raise ShapeError(f"spatial_dims={spatial_dims}", "1, 2 or 3")
    return found  # type: ignore[no-any-return]

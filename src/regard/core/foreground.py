"""Where an image is not background: one rule, that of every place which needs to know.

The background is the lowest value that at least one voxel in a thousand shares exactly, if no more voxels lie below it
than share it; the foreground is what lies above. A stray voxel below, or the ringing of an interpolation around a
background of zeros, moves nothing. An image without such a value (a head with noise in the air around it) has no
constant background: all that lies above its lowest value counts.
"""

from torch import Tensor

__all__ = ["background_level"]

_SHARED_BY = 1000


def background_level(values: Tensor) -> Tensor:
    """The value that foreground lies above, a scalar tensor without gradient; see the rule of this module.

    Parameters
    ----------
    values
        All voxels of the image, of any shape.
    """
    levels, counts = values.detach().flatten().unique(return_counts=True)
    shared = (counts >= max(2, values.numel() / _SHARED_BY)).nonzero().flatten()
    if len(shared):
        first = int(shared[0])
        if int(counts[:first].sum()) <= int(counts[first]) and first + 1 < len(levels):
            return levels[first]
    return levels[0]

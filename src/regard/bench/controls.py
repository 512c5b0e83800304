"""Maps that know nothing of the network: a method that does not beat them shows the image, not the network."""

from collections.abc import Mapping

from torch import Tensor

from regard.evidence import controls
from regard.evidence.surrogate import surrogate

__all__ = ["control_maps"]


def control_maps(x: Tensor, maps: Mapping[str, Tensor], *, seed: int, case: str) -> dict[str, list[Tensor]]:
    """Controls of one case by name; the figure of several maps is their mean.

    Parameters
    ----------
    x
        The image (1, channel, \\*space).
    maps
        The methods' maps (1, 1, \\*space); each has a surrogate of its own smoothness.
    seed, case
        Key of the draws.
    """
    return {
        "edges": [controls.edges(x.float(), sigma=1.0).cpu()],
        "image": [controls.image(x.float()).cpu()],
        "smooth surrogate": [surrogate(m.float().cpu(), seed=seed, case=case, draw=f"of {n}") for n, m in maps.items()],
    }

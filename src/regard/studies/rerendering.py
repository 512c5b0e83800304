"""Model truth by rendering a case again: every mixture of its factors switched on and off, all else as it was."""

from collections.abc import Sequence

import torch
from torch import Tensor

from regard.evidence.measure import Places
from regard.phantoms.truth import USED, VISIBLE, shapley

__all__ = ["mixtures", "places_that_matter"]


def mixtures(factors: Sequence[str]) -> list[dict[str, float]]:
    """All 2^k mixtures of k factors, each 0 or 1: mixture ``s`` switches on those whose bits are set in ``s``."""
    return [{f: float(s >> k & 1) for k, f in enumerate(factors)} for s in range(2 ** len(factors))]


def places_that_matter(images: Tensor, outputs: Tensor, *, decoys: Sequence[int] = ()) -> Places:
    """Where the factors show that an output depends on.

    Parameters
    ----------
    images
        The case rendered for each of `mixtures`, (mixture, channel, \\*space).
    outputs
        The network's output for each, (mixture,).
    decoys
        Numbers of the factors that the label does not depend on.

    Returns
    -------
    Places
        Core: where the image changes visibly with a factor that has at least a tenth of the Shapley sizes, or with the
        largest; decoy: where it changes with a decoy that is not among these.
    """
    shares = shapley(outputs.double()).abs()
    used = (shares / shares.sum().clamp_min(1e-300)) >= USED
    whole = len(images) - 1
    shown = []
    for k in range(len(shares)):
        change = (images[whole] - images[whole - 2**k]).abs().amax(0)
        shown.append(change > VISIBLE * change.max().clamp_min(1e-6))
    core = torch.stack([s for k, s in enumerate(shown) if bool(used[k]) or k == int(shares.argmax())]).any(0)
    if not decoys:
        return Places(core)
    unused = torch.stack([shown[k] for k in decoys]).any(0) & ~core
    return Places(core, None, unused if bool(unused.any()) else None)

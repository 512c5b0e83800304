"""What a segmentation is worth when only the important part of the image is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import recording
from regard.core.devices import sent
from regard.core.errors import InputError, ShapeError
from regard.core.recording import Network
from regard.core.rows import rows_of

__all__ = ["VisibleDice", "dice_at_visibility"]


@dataclass(frozen=True)
class VisibleDice:
    """Dice of one case with part of it shown.

    Parameters
    ----------
    case
        Number of the case.
    share
        Share of the places that was asked for.
    shown
        Share that was shown: more, where B has ties at the threshold.
    dice
        Of the segmentation against the mask; NaN where the mask is empty.
    """

    case: int
    share: float
    shown: float
    dice: float


@torch.no_grad()
def dice_at_visibility(
    network: Network,
    images: Tensor,
    masks: Tensor,
    noise: Tensor,
    *,
    shares: Sequence[float] = (0.5,),
    hidden: float = 0.0,
) -> list[VisibleDice]:
    """Dice of a segmentation network that is shown only the places of least noise.

    A place is shown where B <= t, with t the quantile ``share`` of the case's B; U-Noise reports the median, "50 %
    visibility". The published evaluation of a map, though a picture with holes is no picture of its kind: read it
    beside the Dice at share 1 and that of maps that know nothing.

    Parameters
    ----------
    network
        Image (batch, channel, \\*space) to logits (batch, 1, \\*space).
    images, masks
        (case, channel, \\*space), and booleans or 0 and 1 (case, 1, \\*space).
    noise
        B of each case (case, 1, \\*space).
    shares
        Shares of places shown, above 0 and at most 1.
    hidden
        What the others are set to, in the network's input units.

    Returns
    -------
    list of VisibleDice
        One for each case and share.

    Raises
    ------
    ShapeError
        If masks or maps do not belong to the images.
    InputError
        If a share is out of its range.

    Notes
    -----
    Koker et al. 2021 (arXiv 2101.05791). The mean over cases is left to the reader, with its interval.
    """
    expected = (images.shape[0], 1, *images.shape[2:])
    for name, values in (("masks", masks), ("noise", noise)):
        if tuple(values.shape) != expected:
            raise ShapeError(f"{name} of shape {tuple(values.shape)}", f"{expected}, one for each image")
    for share in shares:
        if not 0 < share <= 1:
            raise InputError(f"a share of {share}", "above 0 and at most 1")
    rows = []
    with recording.intact(network) as frozen:
        for n in range(len(images)):
            x, mask, levels = images[n : n + 1], masks[n : n + 1] > 0.5, noise[n].double().flatten()
            for share in shares:
                threshold = levels.kthvalue(max(1, round(share * levels.numel()))).values
                seen = noise[n : n + 1].double() <= threshold
                shown = sent(torch.where(seen, x, hidden), network)
                found = rows_of(frozen(shown), 1).to(mask.device) > 0  # type: ignore[operator]
                size = int(mask.sum())
                dice = 2 * float((found & mask).sum()) / float(found.sum() + mask.sum()) if size else float("nan")
                rows.append(VisibleDice(n, float(share), float(seen.double().mean()), dice))
    return rows

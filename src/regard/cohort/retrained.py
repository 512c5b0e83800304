"""Whether regions are looked at because of what was learned: a network's rank among those of shuffled labels.

Networks of the same architecture and recipe, trained on the same images with each other's labels, have the same
preferences of architecture, images and training, and know nothing of the label. Where the labels made no difference,
the network in question is one of them: its place among them is as likely to be any. The *network* is the unit, however
many patients are explained.

A network that was not trained at all is none of those: its regions may spread wider. With as many untrained networks
among the others it is told apart from neither kind more often than it should: who comes first among 19 of each kind
and itself comes first among its own kind, too, which has a chance of 1 in 20.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from regard.cohort.permutation import Tested
from regard.core.errors import InputError
from regard.core.recording import Network
from regard.models.model import Model

__all__ = ["FEWEST_NETWORKS", "check_retrained", "rank_test"]

FEWEST_NETWORKS = 19
"""Below this number no p can be as small as 0.05."""


def _apart(values: np.ndarray) -> np.ndarray:
    """How far each row of (network, region) lies from the mean of the others, in their standard deviations."""
    n = len(values)
    others = np.stack([np.delete(values, k, axis=0) for k in range(n)])
    spread = others.std(1, ddof=1)
    found: np.ndarray = np.divide(values - others.mean(1), spread, out=np.full(values.shape, np.nan), where=spread > 0)
    return found


def rank_test(own: np.ndarray, others: np.ndarray) -> Tested:
    """Rank a network's regions among those of networks that were retrained on shuffled labels.

    Each network is compared with all others alike: z is its distance from their mean in their standard deviations. p
    of a region is the share of the networks, the one in question among them, whose largest |z| over regions reaches its
    |z|: exact if the networks are exchangeable, whatever their number and that of patients. With 19 others of each of
    several kinds a p of at most 0.05 is as rare for a network of any of these kinds.

    Parameters
    ----------
    own
        Mean over patients in each region, (region,).
    others
        Of the networks on shuffled labels, and of untrained ones, (network, region).

    Returns
    -------
    Tested
        ``t`` is z; regions with a NaN in any network are left out, as are those in which all others are alike.

    Raises
    ------
    InputError
        If there are fewer than `FEWEST_NETWORKS`.

    Notes
    -----
    A permutation test of one against many (Phipson and Smyth 2010 on the counted one), with the largest statistic over
    regions (Westfall and Young 1993).
    """
    if len(others) < FEWEST_NETWORKS:
        raise InputError(
            f"{len(others)} retrained networks", f"at least {FEWEST_NETWORKS}", "with fewer no p reaches 0.05"
        )
    values = np.concatenate([own[None], others])
    z = np.full(len(own), np.nan)
    kept = np.isfinite(values).all(0)
    apart = _apart(values[:, kept])
    same = np.isfinite(apart).all(0)
    places = np.flatnonzero(kept)[same]
    test = f"rank among {len(others)} networks that know nothing of the labels"
    if not len(places):
        return Tested(z, z.copy(), len(others), np.zeros(0), test)
    apart = apart[:, same]
    z[places] = apart[0]
    largest = np.abs(apart).max(1)
    p = np.full(len(own), np.nan)
    p[places] = (largest[:, None] >= np.abs(apart[0])[None] * (1 - 1e-9)).mean(0)
    return Tested(z, p, len(others), largest, test)


def _state(network: Network) -> Mapping[str, Tensor]:
    return network.state_dict() if isinstance(network, nn.Module) else {}


def check_retrained(model: Model, retrained: Sequence[Model]) -> None:
    """Refuse networks that cannot be the model's own, retrained.

    Raises
    ------
    InputError
        If they are too few, of another architecture, or one is given twice or is the model itself.
    """
    if len(retrained) < FEWEST_NETWORKS:
        got = f"{len(retrained)} retrained networks"
        raise InputError(got, f"at least {FEWEST_NETWORKS}", "retrain more: with fewer no p reaches 0.05")
    own = {name: tuple(v.shape) for name, v in _state(model.network).items()}
    for other in retrained:
        theirs = {name: tuple(v.shape) for name, v in _state(other.network).items()}
        if theirs != own:
            got = f"the retrained network '{other.card.name}' with other parameters than '{model.card.name}'"
            raise InputError(got, "the same architecture", "retrain this network")
    seen: dict[bytes, str] = {}
    for one in (model, *retrained):
        key = b"".join(v.detach().cpu().contiguous().numpy().tobytes() for v in _state(one.network).values())
        if key and key in seen:
            raise InputError(
                f"two networks with the same weights ('{seen[key]}', '{one.source or one.card.name}')",
                "each trained anew",
                "leave one out",
            )
        seen[key] = one.source or one.card.name

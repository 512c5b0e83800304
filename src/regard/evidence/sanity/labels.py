"""Whether a map depends on what the labels said: the same method on networks trained on shuffled labels."""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError
from regard.core.recording import Network
from regard.evidence.again import explain_again
from regard.evidence.measure import Exhibit, Measured
from regard.evidence.sanity.randomisation import likeness_by_chance, share_as_alike
from regard.evidence.sanity.similarity import likeness_to, ssim, top_overlap

__all__ = ["Retrain", "label_randomisation", "shuffled"]

Retrain: TypeAlias = Callable[[int], Network]
"""The hook: a seed to a network of the same kind, trained from scratch on labels that were shuffled with that seed."""


def shuffled(labels: Tensor, seed: int) -> Tensor:
    """Labels (case, ...) in another order: each image gets another image's label, all labels are kept."""
    order = torch.randperm(len(labels), generator=randomness.generator(seed, "labels", "shuffled"))
    return labels[order.to(labels.device)]


def label_randomisation(exhibit: Exhibit, retrain: Retrain, *, n_networks: int = 1, n_surrogates: int = 19) -> Measured:
    """How alike the map stays when the network has learned shuffled labels, beyond what surrogates are.

    The image is explained again, by the exhibit's own method, on networks that ``retrain`` gives. The figure is the
    mean likeness (`regard.evidence.sanity.similarity.likeness_to`) of their maps to the exhibit's minus that of
    surrogates: 0 by chance, near 1 for a method that draws edges whatever was learned.

    Parameters
    ----------
    exhibit
        The map of the network that was trained on the true labels; it can explain again.
    retrain
        Gives a network trained on shuffled labels, for the seeds 0 and on (`shuffled`). It is called once a network;
        give one that remembers them, such as `functools.cache` makes, where several cases are measured.
    n_networks
        How many of them.
    n_surrogates
        Surrogates that say what chance is.

    Raises
    ------
    InputError
        If fewer than one network is asked for, or the exhibit cannot explain again.

    Notes
    -----
    Adebayo et al. 2018, NeurIPS (arXiv 1810.03292), section 4, data randomisation. There the networks were trained
    until they knew the shuffled labels by heart; one that learned nothing has a map that says nothing, and is undefined
    where that map is constant.
    """
    if n_networks < 1:
        raise InputError(f"{n_networks} networks on shuffled labels", "at least one")
    if exhibit.blank:
        return Measured.undefined("the map is zero everywhere")
    relevance = exhibit.relevance.detach().double().cpu()
    maps = [explain_again(exhibit, network=retrain(seed)) for seed in range(n_networks)]
    likeness = likeness_to(relevance, exhibit.sign)
    known = [(v, m) for v, m in ((likeness(m), m) for m in maps) if not math.isnan(v)]
    if not known:
        return Measured.undefined("the maps of the networks on shuffled labels are constant")
    chance = likeness_by_chance(exhibit, n_surrogates)
    alike = sum(v for v, _ in known) / len(known)
    notes = {
        "likeness": alike,
        "likeness of surrogates": float(chance.mean()),
        "surrogates as alike": share_as_alike(chance, alike),
        "n_networks": n_networks,
        "n_undefined": n_networks - len(known),
        "ssim": sum(ssim(relevance, m) for _, m in known) / len(known),
        "top overlap": sum(top_overlap(relevance, m) for _, m in known) / len(known),
    }
    each = torch.tensor([v for v, _ in known], dtype=torch.float64)
    return Measured(alike - float(chance.mean()), "1", notes, {"likeness": each, "likeness of surrogates": chance})

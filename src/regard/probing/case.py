"""Probes that run nothing: what a case, a reference and a filling are. They are made for every case."""

from collections.abc import Sequence

import torch
from torch import Tensor

from regard.core.errors import InputError, ReferenceInputError
from regard.core.explainer import AbstractExplainer
from regard.core.query import Query
from regard.core.spatial import has_space, space
from regard.core.target import Probability, TargetLike
from regard.explainers.perturbation.fillers import Filler, FillerLike
from regard.probing.probe import Probe, refused, told

__all__ = ["case_probes"]

SATURATED = 1e-4
"""A probability nearer than this to 0 or 1 hardly answers to anything."""

SAME = 1e-6
"""Share of an input's range within which two images count as the same."""


def case_probes(query: Query, goal: TargetLike, value: float, explainers: Sequence[AbstractExplainer]) -> list[Probe]:
    """What can be said of a case without running the network.

    Parameters
    ----------
    query
        One case, with its reference where there is one.
    goal
        The target.
    value
        f(x).
    explainers
        The methods.
    """
    labels = query.inputs.names or [str(n + 1) for n in range(len(query.inputs.tensors))]
    probes = _constant(query, labels)
    if isinstance(goal, Probability) and min(abs(value), abs(1 - value)) < SATURATED:
        probes.append(
            told(
                "saturation",
                f"a probability of {value:.6g}",
                f"one at least {SATURATED:g} from 0 and 1, where it still answers to the image",
                f"explain the logit: -t logit:{goal.index}",
                value,
                one_case=True,
            )
        )
    probes += _reference(query, labels)
    fillings: dict[tuple[FillerLike, float | None], AbstractExplainer] = {}
    for explainer in explainers:
        kind = getattr(explainer, "filler", None)
        if kind is not None and "filler" in explainer.knobs():
            fillings.setdefault((kind, getattr(explainer, "sigma", None)), explainer)
    for kind, sigma in fillings:
        probes += _filler(query, labels, kind, sigma)
    return probes


def _span(x: Tensor) -> float:
    return float(x.max() - x.min())


def _equal(x: Tensor, y: Tensor) -> bool:
    scale = max(_span(x), float(x.abs().max()) * SAME)
    return float((x - y.to(x)).abs().max()) <= SAME * scale


def _constant(query: Query, labels: Sequence[str]) -> list[Probe]:
    flat = [labels[n] for n, x in enumerate(query.inputs.tensors) if has_space(x) and _span(x) == 0]
    if not flat:
        return []
    value = float(query.inputs.tensors[list(labels).index(flat[0])].flatten()[0])
    return [
        told(
            "constant input",
            f"an image{_of(query, flat)} that is {value:.4g} everywhere",
            "one in which places differ",
            "check the file, the window and the normalising",
            value,
            one_case=True,
        )
    ]


def _of(query: Query, labels: Sequence[str]) -> str:
    return f" of input {', '.join(labels)}" if len(query.inputs.tensors) > 1 else ""


def _reference(query: Query, labels: Sequence[str]) -> list[Probe]:
    if query.reference is None:
        return []
    same = [
        label
        for label, x, reference in zip(labels, query.inputs.tensors, query.reference, strict=True)
        if _equal(x, reference)
    ]
    if len(same) == len(labels):
        error = ReferenceInputError("a reference that is the input itself", "another image", "choose another reference")
        return [refused("reference", error)]
    if same:
        return [
            told(
                "reference",
                f"a reference whose input {', '.join(same)} is this case's own",
                "another one",
                "nothing can be said of that input: choose a reference that differs there",
                one_case=True,
            )
        ]
    return [Probe("reference", "ok", "differs from the input", one_case=True)]


@torch.no_grad()
def _filler(query: Query, labels: Sequence[str], kind: FillerLike, sigma: float | None) -> list[Probe]:
    """Whether what hides a place differs from what it hides."""
    word = f"{kind:g}" if isinstance(kind, (int, float)) else str(kind)
    name, filler, same = f"filler {word}", Filler(kind, sigma), []
    for n, x in enumerate(query.inputs.tensors):
        hidden = [max(1, size // 8) for size in space(x)]
        try:
            filling = filler.image(query, n, hidden)
        except InputError as error:
            return [refused(name, error)]
        if _equal(x, filling):
            same.append(labels[n])
    if not same:
        return [Probe(name, "ok", "differs from the input", one_case=True)]
    return [
        told(
            name,
            f"a filling{_of(query, same)} that is the input itself",
            "one that differs from it",
            "no effect of hiding can be seen there: give a reference, or another filler",
            one_case=True,
        )
    ]

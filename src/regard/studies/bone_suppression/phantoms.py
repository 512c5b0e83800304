"""Simulated pairs, kept in pieces, and rendered again with one factor changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regard.datasets.radiograph_images import saturated_pair
from regard.phantoms.radiograph import (
    BEAMS,
    FINDINGS,
    Draws,
    Exposure,
    Field,
    RadiographPaths,
    RadiographSubject,
    draw_factors,
    draw_paths,
    expose,
    packed,
    unpacked,
)
from regard.studies.bone_suppression.config import BoneSuppressionConfig
from regard.studies.bone_suppression.pairs import Pairs, joined
from regard.studies.run import StudyRun

__all__ = ["PARTS", "Planted", "again", "phantom_pairs", "planted"]

PARTS = ("train", "validation", "test")
"""Parts of the data; no chest is in two of them."""

PLANTED = 0.8
"""Dose of the findings that are planted in test chests."""

_FIRST = {"train": 0, "validation": 5_000, "test": 20_000}


def _factors(config: BoneSuppressionConfig, name: str, k: int, seed: int) -> dict[str, float]:
    return draw_factors(f"{name}/{k}", Draws(prevalence=config.data.prevalence), seed=seed)


def _exposure(config: BoneSuppressionConfig) -> Exposure:
    return Exposure(beam=BEAMS[config.data.beam])


def _subjects(
    config: BoneSuppressionConfig, paths: Mapping[str, RadiographPaths], factors: Mapping[str, float], seed: int
) -> tuple[RadiographSubject, RadiographSubject]:
    """A radiograph, and the same chest without its finding."""
    how = _exposure(config)
    healthy = {**factors, **dict.fromkeys(FINDINGS, 0.0)}
    return expose(paths, factors, how, seed=seed), expose(paths, healthy, how, seed=seed)


def _pair(config: BoneSuppressionConfig, ill: RadiographSubject, without: RadiographSubject) -> dict[str, Tensor]:
    images = (ill.image, ill.soft, without.image, without.soft)
    prepared = saturated_pair(*(i[None] for i in images), share=config.data.saturated)
    paths = ill.paths
    return {
        **{n: p[0] for n, p in zip(("images", "soft", "plain", "plain_soft"), prepared, strict=True)},
        "finding": ill.mask,
        "bone": paths.behind_bone,
        "lung": paths.lung,
    }


def _view(factors: Mapping[str, float]) -> str:
    return "AP" if factors["view"] >= 0.5 else "PA"


def _name(part: str, n: int) -> str:
    return f"{part}-{n:04d}"


def phantom_pairs(run: StudyRun, config: BoneSuppressionConfig, part: str, n: int) -> Pairs:
    """The pairs of one part: rendered, or read if they have been.

    Parameters
    ----------
    run, config
        The study.
    part
        One of `PARTS`.
    n
        Number of chests.
    """
    size, n_each = config.data.size, 1 if part == "test" else config.data.n_each
    found = []
    for number in range(n):

        def make(number: int = number) -> dict[str, Tensor]:
            run.stage(f"chests, {part}", number, n)
            paths = draw_paths(run.seed, _FIRST[part] + number, Field(size=size))
            rows, extra = [], {}
            for k in range(n_each):
                factors = _factors(config, paths["PA"].name, k, run.seed)
                rows.append(_pair(config, *_subjects(config, paths, factors, run.seed)))
                if part == "test":
                    # Kept for what weighing renders again.
                    extra = {f"paths.{k}": v for k, v in packed({_view(factors): paths[_view(factors)]}).items()}
            return {**{name: torch.stack([row[name] for row in rows]) for name in rows[0]}, **extra}

        tensors: dict[str, Any] = dict(run.tensors(f"data/{_name(part, number)}", make))
        drawn = [_factors(config, _chest(part, number), k, run.seed) for k in range(n_each)]
        found.append(
            Pairs(
                **{name: v for name, v in tensors.items() if not name.startswith("paths.")},
                cases=tuple(f"{_name(part, number)}-{k}" for k in range(n_each)),
                patients=(_name(part, number),) * n_each,
                kinds=tuple(next((f for f in FINDINGS if d[f] > 0), "") for d in drawn),
            )
        )
    return joined(found)


def _chest(part: str, number: int) -> str:
    return f"torso-{_FIRST[part] + number:05d}"


def _test_chest(
    run: StudyRun, config: BoneSuppressionConfig, patient: str
) -> tuple[Mapping[str, RadiographPaths], dict[str, float]]:
    """What was kept of a test chest: paths of its view, and its factors."""
    name = _chest("test", int(patient.rpartition("-")[2]))
    tensors = run.tensors(f"data/{patient}", dict)
    paths = unpacked(name, {k.removeprefix("paths."): v for k, v in tensors.items() if k.startswith("paths.")})
    return paths, _factors(config, name, 0, run.seed)


@dataclass(frozen=True, eq=False)
class Planted:
    """One test chest without a finding, and with one finding of each kind (kind, ...), all by one display.

    Parameters
    ----------
    images, soft
        Radiographs and truth with a finding, (kind, 1, row, column).
    plain, plain_soft
        Without, (1, 1, row, column).
    masks
        Of the findings, (kind, row, column) of bool.
    """

    images: Tensor
    soft: Tensor
    plain: Tensor
    plain_soft: Tensor
    masks: Tensor


def planted(run: StudyRun, config: BoneSuppressionConfig, patient: str) -> Planted:
    """Take a test chest with one finding of each kind in turn, and without."""
    paths, factors = _test_chest(run, config, patient)
    healthy = {**factors, **dict.fromkeys(FINDINGS, 0.0)}
    how = _exposure(config)
    plain = expose(paths, healthy, how, seed=run.seed)
    ill = [expose(paths, {**healthy, kind: PLANTED}, how, seed=run.seed) for kind in FINDINGS]
    line, share = plain.image[None], config.data.saturated
    images, soft = (
        torch.cat([saturated_pair(line, getattr(s, which)[None], share=share)[1] for s in ill])
        for which in ("image", "soft")
    )
    first, first_soft = saturated_pair(line, plain.soft[None], share=share)
    return Planted(images, soft, first, first_soft, torch.stack([s.mask for s in ill]))


def again(
    run: StudyRun, config: BoneSuppressionConfig, patient: str, changes: Sequence[Mapping[str, float]]
) -> tuple[Tensor, dict[str, float]]:
    """A test radiograph taken again for each set of changed factors, noise and display as they were.

    Parameters
    ----------
    run, config
        The study.
    patient
        Its id.
    changes
        ``"finding"`` (dose), ``"marker"`` and ``"bone"`` (share of the mineral), each in [0, 1].

    Returns
    -------
    images
        (change, 1, row, column) in [0, 1].
    factors
        The radiograph's own.
    """
    paths, factors = _test_chest(run, config, patient)
    kind = next((f for f in FINDINGS if factors[f] > 0), FINDINGS[0])
    own = {"finding": factors[kind], "marker": factors["marker"], "bone": 1.0}
    how = _exposure(config)
    first = expose(paths, factors, how, seed=run.seed).image[None]
    images = []
    for change in changes:
        held = {**own, **change}
        taken = expose(
            paths, {**factors, kind: held["finding"], "marker": held["marker"]}, how, seed=run.seed, bone=held["bone"]
        )
        # By the radiograph's own line, so that a factor changes nothing elsewhere.
        images.append(saturated_pair(first, taken.image[None], share=config.data.saturated)[1])
    return torch.cat(images) if images else torch.empty(0), own

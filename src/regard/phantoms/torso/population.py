"""Shapes drawn at random: a population of adults whose areal bone density has the published training histogram."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch

from regard.core import randomness
from regard.core.errors import InputError, UnknownNameError
from regard.phantoms.torso.density import measure_l1
from regard.phantoms.torso.factors import DECOYS, FACTORS
from regard.phantoms.torso.shape import TorsoShape

__all__ = ["PAPER_COUNTS", "PAPER_EDGES", "draw_shape", "natural_shape", "paper_label_density", "standardised"]

PAPER_EDGES = tuple(0.4 + 0.1 * i for i in range(11))
"""Borders of the histogram's bins [g/cm2]."""

PAPER_COUNTS = (9, 31, 210, 474, 562, 542, 230, 132, 35, 14)
"""Training images in each bin (Kang et al., Frontiers in Physiology 2023, repository)."""

PAPER_MEAN, PAPER_SD = 0.8761, 0.1543
"""Of the histogram, with labels even within a bin; checked by a test."""

_NATURAL_MEAN, _NATURAL_SD = 0.928, 0.160
"""Of the areal density of `natural_shape` [g/cm2], measured on 250 of them."""

_DECOY_SIGN = {"aortic_calcium": -1.0, "muscle": 1.0, "table_mark": 1.0}
"""Calcification grows as bone is lost; the others grow with it."""

_SD = math.sqrt(1 / 12)


def paper_label_density(share: float) -> float:
    """Label [g/cm2] below which this share of the published training images lies; even within a bin.

    Raises
    ------
    InputError
        If the share is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise InputError(f"a share of {share}", "0 to 1")
    left = share * sum(PAPER_COUNTS)
    for low, count in zip(PAPER_EDGES, PAPER_COUNTS, strict=False):
        if left <= count:
            return low + 0.1 * left / count
        left -= count
    return PAPER_EDGES[-1]


def standardised(label: float) -> float:
    """A label [g/cm2] with the published mean 0 and standard deviation 1."""
    return (label - PAPER_MEAN) / PAPER_SD


class _Draws:
    """Draws of one case, each with a key of its own."""

    def __init__(self, seed: int, name: str) -> None:
        self.seed, self.name = seed, name

    def normal(self, draw: str) -> float:
        """Standard normal, cut at 2.5."""
        return max(-2.5, min(2.5, float(randomness.normal(torch.empty(1), self.seed, self.name, draw))))

    def uniform(self, draw: str) -> float:
        """Uniform in [0, 1)."""
        return float(randomness.uniform((1,), self.seed, self.name, draw))


def natural_shape(seed: int, case: int) -> TorsoShape:
    """Draw the anatomy of one case; its bone density follows age, sex, size and chance.

    Stature drives every length of the skeleton; one draw of habitus drives fat, and part of muscle; one of bone drives
    density and thickness of the cortex together; age lowers density and muscle and raises fat and calcification.
    """
    name = f"torso-{case:05d}"
    d = _Draws(seed, name)
    male = d.uniform("sex") < 0.4
    age = min(90.0, max(25.0, 62 + 13 * d.normal("age")))
    height = (1745 if male else 1615) + 65 * d.normal("height")
    build = (height - 1680) / 100
    habitus, strength, bone = d.normal("habitus"), d.normal("strength"), d.normal("bone")
    old = (age - 60) / 13
    fat = max(5.0, (16 if male else 23) * math.exp(0.38 * habitus))
    visceral = min(
        1.0, max(0.05, 0.42 + 0.16 * habitus + (0.08 if male else -0.08) + 0.05 * old + 0.06 * d.normal("visceral"))
    )
    muscular = 1 + 0.10 * strength + (0.10 if male else -0.08) - 0.05 * old
    infiltration = min(
        1.0, max(0.02, 0.30 + 0.13 * old + 0.06 * habitus - 0.05 * strength + 0.06 * d.normal("infiltration"))
    )
    scale = 1 + 0.055 * build + (0.03 if male else -0.03) + 0.035 * d.normal("vertebra")
    cortex = 1.0 + 0.12 * bone - 0.05 * old + (0.04 if male else -0.04)
    trabecular, cortical = max(35.0, 128 - 24 * old + 26 * bone), max(450.0, 940 + 35 * bone - 10 * old)
    return TorsoShape(
        name=name,
        seed=seed,
        sex="male" if male else "female",
        age=age,
        height=height,
        half_width=(146 if male else 136) + 5 * build + 6 * habitus + 3 * d.normal("width"),
        front=82 + 55 * visceral + 2 * build + 4 * d.normal("front"),
        back=84 + 3 * build + 6 * (muscular - 1) * 10 * 0.3 + 2 * d.normal("back"),
        subcutaneous=fat,
        visceral=visceral,
        wall=max(7.0, 13 * muscular + 0.8 * d.normal("wall")),
        psoas=max(0.5, muscular + 0.08 * d.normal("psoas")),
        paraspinal=max(0.6, muscular + 0.06 * d.normal("paraspinal")),
        muscle_hu=52 + 4 * d.normal("muscle"),
        infiltration=infiltration,
        liver_hu=56 - 5 * max(0.0, habitus) + 5 * d.normal("liver"),
        spleen_hu=47 + 3 * d.normal("spleen"),
        kidney_hu=31 + 3 * d.normal("kidney"),
        blood_hu=42 + 4 * d.normal("blood"),
        fat_hu=-103 + 4 * d.normal("fat"),
        kidney=54 + 2 * build + 3 * d.normal("kidney length"),
        kidney_shift=9 * d.normal("kidney height"),
        liver=1 + 0.06 * d.normal("liver size"),
        spleen=1 + 0.09 * d.normal("spleen size"),
        lordosis=max(4.0, 12 + 3.5 * d.normal("lordosis")),
        kyphosis=max(14.0, 30 + 3 * old + 5 * d.normal("kyphosis")),
        scoliosis=3.0 * d.normal("scoliosis"),
        vertebra=scale,
        body_width=42 * (1 + 0.04 * d.normal("body width")),
        body_depth=31 * (1 + 0.04 * d.normal("body depth")),
        body_height=26 * (1 + 0.035 * d.normal("body height")),
        waist=0.10 + 0.02 * d.normal("waist"),
        concavity=max(0.3, 1.6 + 0.3 * old + 0.4 * d.normal("concavity")),
        cortex=cortex,
        endplate=max(0.4, 1.1 + 0.10 * bone + 0.05 * d.normal("endplate")),
        posterior_cortex=max(0.6, 1.9 + 0.18 * bone - 0.05 * old),
        pedicle=4.5 + 0.45 * d.normal("pedicle"),
        lamina=3.6 + 0.25 * d.normal("lamina"),
        spinous=30 + 2.5 * d.normal("spinous"),
        transverse=22 + 2.5 * d.normal("transverse"),
        canal_width=22 + 1.2 * d.normal("canal width"),
        canal_depth=16 + 1.0 * d.normal("canal depth"),
        disc=max(4.0, 8 + 0.4 * build - 0.5 * old + 0.8 * d.normal("disc")),
        trabecular=trabecular,
        cortical=cortical,
        other_trabecular=trabecular,
        other_cortical=cortical,
        skeleton=1 + 0.06 * d.normal("skeleton"),
        posterior_ratio=1.8 + 0.1 * d.normal("posterior"),
        texture=min(0.45, max(0.12, 0.24 + 0.04 * old - 0.03 * bone)),
        marrow_fat=min(0.85, max(0.2, 0.5 + 0.08 * old + 0.06 * d.normal("marrow"))),
        aorta=9.6 + (0.8 if male else -0.5) + 0.5 * old + 0.6 * d.normal("aorta"),
        aortic_calcium=min(1.0, max(0.0, 0.2 + 0.2 * old + 0.2 * d.normal("calcium"))),
        bowel_gas=d.uniform("gas"),
        stool=d.uniform("stool"),
        chest_width=1 + 0.03 * build + 0.03 * d.normal("chest width"),
        chest_depth=1 + 0.04 * d.normal("chest depth"),
        lung=1 + 0.05 * d.normal("lung"),
        heart=1 + 0.06 * d.normal("heart") + 0.02 * old,
        table_gap=4 + 2 * d.uniform("gap"),
        table_mark=0.0,
    )


def draw_shape(seed: int, case: int, *, labels: str = "paper", decoys: Mapping[str, float] | None = None) -> TorsoShape:
    """Draw one case.

    Parameters
    ----------
    seed, case
        Cohort and number of the case: the same torso each time.
    labels
        ``"paper"``: mineral density is scaled so that the areal densities of a cohort follow the published training
        histogram, each case keeping its rank; ``"natural"``: as anatomy and age make it.
    decoys
        Any of `DECOYS` with a dose in [0, 1]: the factor is drawn so that its correlation with the label has that size
        (calcification falls with density, the others rise). A decoy that is not named keeps its own draw, and the mark
        is absent.

    Raises
    ------
    InputError
        If the labels are of no such kind, or a dose is not in [0, 1].
    UnknownNameError
        If there is no such decoy.
    """
    if labels not in ("paper", "natural"):
        raise InputError(f"labels='{labels}'", "paper or natural")
    shape = natural_shape(seed, case)
    label = measure_l1(shape).areal_bmd
    if labels == "paper":
        rank = 0.5 * (1 + math.erf((label - _NATURAL_MEAN) / _NATURAL_SD / math.sqrt(2)))
        wanted = paper_label_density(rank)
        scale = wanted / label
        trabecular, cortical, label = shape.trabecular * scale, shape.cortical * scale, wanted
        shape = replace(
            shape,
            trabecular=trabecular,
            cortical=cortical,
            other_trabecular=trabecular,
            other_cortical=cortical,
        )
    for decoy, dose in (decoys or {}).items():
        if decoy not in DECOYS:
            raise UnknownNameError.suggest("decoy", decoy, DECOYS)
        if not 0 <= dose <= 1:
            raise InputError(f"{decoy}={dose}", "a dose from 0 to 1")
        own = (float(randomness.uniform((1,), seed, shape.name, f"decoy {decoy}")) - 0.5) / _SD
        value = 0.5 + _SD * (_DECOY_SIGN[decoy] * dose * standardised(label) + math.sqrt(1 - dose**2) * own)
        shape = FACTORS[decoy].set(shape, max(0.0, value))
    return shape

"""The population: the published histogram of labels, anatomy that goes together, decoys of a dose."""

import numpy as np
import pytest

from regard.core.errors import InputError, UnknownNameError
from regard.phantoms.torso import draw_shape, measure_l1, paper_label_density
from regard.phantoms.torso.population import (
    PAPER_COUNTS,
    PAPER_EDGES,
    PAPER_MEAN,
    PAPER_SD,
    natural_shape,
)


def test_paper_labels_are_the_histogram() -> None:
    labels = [paper_label_density(u) for u in (np.arange(22390) + 0.5) / 22390]
    counts, _ = np.histogram(labels, PAPER_EDGES)
    assert np.abs(counts / 10 - PAPER_COUNTS).max() <= 0.2
    assert np.mean(labels) == pytest.approx(PAPER_MEAN, abs=1e-3)
    assert np.std(labels) == pytest.approx(PAPER_SD, abs=1e-3)
    assert (paper_label_density(0.0), paper_label_density(1.0)) == pytest.approx((0.4, 1.4))
    with pytest.raises(InputError, match="0 to 1"):
        paper_label_density(1.5)


def test_a_cohort_has_the_published_histogram() -> None:
    labels = np.array([measure_l1(draw_shape(5, i), spacing_mm=2.0).areal_bmd for i in range(80)])
    # Three standard errors of a mean, and of a standard deviation, of 80; and our own fit of the ranks.
    assert labels.mean() == pytest.approx(PAPER_MEAN, abs=3 * PAPER_SD / 80**0.5 + 0.01)
    assert labels.std() == pytest.approx(PAPER_SD, rel=3 / 160**0.5 + 0.05)
    assert labels.min() >= 0.4 and labels.max() <= 1.45


def test_anatomy_goes_together() -> None:
    drawn = [natural_shape(1, i) for i in range(400)]

    def correlation(a: str, b: str) -> float:
        return float(np.corrcoef([getattr(s, a) for s in drawn], [getattr(s, b) for s in drawn])[0, 1])

    assert correlation("age", "trabecular") < -0.4
    assert correlation("visceral", "front") > 0.5
    assert correlation("age", "aortic_calcium") > 0.4
    assert correlation("height", "vertebra") > 0.4
    assert {s.sex for s in drawn} == {"female", "male"}
    assert draw_shape(1, 7) == draw_shape(1, 7)
    assert draw_shape(1, 7) != draw_shape(2, 7)


@pytest.mark.parametrize(("decoy", "field", "sign"), [("table_mark", "table_mark", 1), ("aortic_calcium",) * 2 + (-1,)])
def test_a_decoy_follows_the_label_by_its_dose(decoy: str, field: str, sign: int) -> None:
    for dose in (0.0, 0.9):
        shapes = [draw_shape(2, i, decoys={decoy: dose}) for i in range(40)]
        labels = [measure_l1(s, spacing_mm=3.0).areal_bmd for s in shapes]
        found = sign * float(np.corrcoef(labels, [getattr(s, field) for s in shapes])[0, 1])
        # Three standard errors of a correlation; values below 0 are cut to 0.
        assert found == pytest.approx(dose, abs=3 * (1 - dose**2) / 40**0.5 + 0.05)


def test_a_decoy_leaves_the_label() -> None:
    plain, marked = draw_shape(0, 3), draw_shape(0, 3, decoys={"table_mark": 0.9, "muscle": 0.5})
    assert measure_l1(plain, spacing_mm=2.0) == measure_l1(marked, spacing_mm=2.0)


def test_errors() -> None:
    with pytest.raises(UnknownNameError, match="table_mark"):
        draw_shape(0, 0, decoys={"mark": 0.5})
    with pytest.raises(InputError, match="dose from 0 to 1"):
        draw_shape(0, 0, decoys={"muscle": 2.0})
    with pytest.raises(InputError, match="paper or natural"):
        draw_shape(0, 0, labels="other")

"""Agreement of maps, and of repeats."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import Square, drawn, exhibit
from scipy import stats

from regard.core.errors import ShapeError
from regard.core.quantity import Sign
from regard.evidence.agreement import Agreement, intraclass_correlation


def test_agreement_is_the_mean_rank_correlation() -> None:
    maps = [drawn((9, 9), seed) for seed in range(3)]
    maps[1] = maps[1] + maps[0]
    case = exhibit(Square(), maps[0], maps[0], others={"a": maps[1], "b": maps[2]})
    each = [float(stats.spearmanr(p.flatten(), q.flatten()).statistic)
            for p, q in ((maps[0], maps[1]), (maps[0], maps[2]), (maps[1], maps[2]))]  # fmt: skip
    found = Agreement().measure(case)
    assert found.value == pytest.approx(np.mean(each[:2]))
    assert found.notes["among all pairs"] == pytest.approx(np.mean(each))
    assert found.notes["with a"] == pytest.approx(each[0])


def test_agreement_of_signed_maps_sees_a_flip_and_that_of_unsigned_ones_does_not() -> None:
    relevance = drawn((9, 9))
    case = exhibit(Square(), relevance, relevance, others={"flipped": -relevance})
    assert Agreement().measure(case).value == pytest.approx(-1)
    assert Agreement().measure(replace(case, sign=Sign.UNSIGNED)).value == pytest.approx(1)
    assert Agreement().measure(case).notes["top overlap"] == 1


def test_no_other_map_is_no_agreement() -> None:
    case = exhibit(Square(), drawn((9, 9)), drawn((9, 9)))
    assert not Agreement().can(case)
    assert math.isnan(Agreement().measure(case).value)
    constant = replace(case, others={"constant": torch.ones(1, 1, 9, 9)})
    assert Agreement().can(constant)
    assert "varies" in Agreement().measure(constant).notes["undefined"]


SHROUT_AND_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def test_intraclass_correlation_is_the_published_example() -> None:
    """Shrout and Fleiss 1979, table 4: ICC(2,1) = .29."""
    assert intraclass_correlation(torch.tensor(SHROUT_AND_FLEISS)) == pytest.approx(0.29, abs=0.005)


def test_intraclass_correlation_of_known_variances() -> None:
    subject, noise = drawn((20000, 1))[0, 0], drawn((20000, 3), 1)[0, 0]
    assert intraclass_correlation(2 * subject + noise) == pytest.approx(4 / 5, abs=0.02)
    assert intraclass_correlation(subject.expand(-1, 3)) == pytest.approx(1)
    assert math.isnan(intraclass_correlation(torch.ones(4, 3)))
    with pytest.raises(ShapeError, match="two repeats"):
        intraclass_correlation(torch.ones(4, 1))

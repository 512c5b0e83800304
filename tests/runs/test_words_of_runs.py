"""What a run prints has no nan in it, whatever it found."""

import math
from pathlib import Path

import pytest

from regard.runs.explaining import ExplainResult
from regard.runs.of_cohort import CohortResult
from regard.runs.result import bounds_in_words, columns_of_text

NAN = math.nan
MAP = {
    "case": "a", "map": "gradient", "input": "", "target": "output:0", "prediction": 61.5, "unit": "years",
    "quantity": "sensitivity", "lowest": -1.0, "highest": 2.0, "map_unit": "years per intensity", "warnings": [],
}  # fmt: skip
REGION = {"method": "gradient", "group": "*", "contrast": "mean", "region": "left half", "density": 1.25}


def words(text: object) -> list[str]:
    return str(text).replace("(", " ").replace(")", " ").replace(",", " ").split()


@pytest.mark.parametrize(("lowest", "highest"), [(-1.0, 2.0), (NAN, NAN)])
def test_a_map_of_nothing_is_told_in_words(lowest: float, highest: float) -> None:
    told = str(ExplainResult(folder=Path("run"), maps=({**MAP, "lowest": lowest, "highest": highest},)))
    assert "nan" not in words(told)
    assert ("not a number anywhere" in told) == math.isnan(lowest)
    assert ("-1 to 2 [years per intensity]" in told) != math.isnan(lowest)


@pytest.mark.parametrize(("low", "high", "p"), [(1.0, 1.5, 0.01), (NAN, NAN, NAN)])
def test_a_region_without_an_interval_has_none(low: float, high: float, p: float) -> None:
    predictions = {"mae": 2.0, "low": low, "high": high, "pearson_r": p, "n": 3}
    rows = ({**REGION, "low": low, "high": high, "p_maxT": p},)
    told = CohortResult(
        folder=Path("run"), n_cases=3, n_done=3, space="scan", predictions=predictions, regions=rows
    )  # fmt: skip
    assert "nan" not in words(told)
    assert "left half: density 1.25" in str(told)
    assert ("1.00 to 1.50" in str(told)) != math.isnan(low)
    assert ("r undefined" in str(told)) == math.isnan(p)


def test_columns_show_a_dash_for_what_is_not_a_number() -> None:
    rows = [{"name": "nan-kidney", "value": "nan"}, {"name": "b", "value": "0.5"}]
    assert columns_of_text(rows).split() == ["name", "value", "nan-kidney", "-", "b", "0.5"]
    assert rows[0]["value"] == "nan"


def test_an_interval_of_which_an_end_is_missing_is_none() -> None:
    assert bounds_in_words(0.5, NAN) == ""
    assert bounds_in_words(0.5, 1.25) == " (0.5 to 1.25)"

from dataclasses import replace

import pytest
import torch
from markers import explanation

from regard.core.quantity import Quantity, Sign
from regard.core.volume import Volume
from regard.report import words


def one(**changes):
    return explanation(Volume.from_array(torch.tensor([1.0, -2.0, 4.0, torch.nan])), **changes)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (-0.25, "\N{MINUS SIGN}0.25"),
        (1234.5678, "1235"),
        (1.5e-7, "1.5 \N{MULTIPLICATION SIGN} 10⁻⁷"),
        ("a-b", "a-b"),
        (True, "True"),
        (float("nan"), "not a number"),
        (float("-inf"), "\N{MINUS SIGN}∞"),
        (0.0, "0"),
    ],
)
def test_numbers_for_the_eye(value, text):
    assert words.number(value) == text


def test_sign_sentence():
    assert words.sign_sentence(one()) == "positive: raising the intensity here raises the output"
    assert words.sign_sentence(one(sign=Sign.UNSIGNED)).startswith("unsigned")


def test_only_contributions_are_totalled():
    text = words.totals(one(quantity=Quantity.CONTRIBUTION, unit="years", outside=0.5, completeness_error=-0.01))
    assert text == (
        "The map sums to 3 years, and 0.5 years fell on padding outside the image; "
        "completeness error \N{MINUS SIGN}0.01 years."
    )
    assert all(words.totals(one(quantity=q)) is None for q in Quantity if q is not Quantity.CONTRIBUTION)


def test_what_a_map_does_not_say_follows_from_its_quantity():
    said = {q: " ".join(" ".join(part) for _, part in words.readings([one(quantity=q)])) for q in Quantity}
    assert "slope" in said[Quantity.SENSITIVITY]
    assert "filler" in said[Quantity.EFFECT]
    assert "sum over a region means nothing" in said[Quantity.SCORE]
    assert "another reference" in said[Quantity.CONTRIBUTION]
    assert all("not evidence" in text and "is not weighed" in text for text in said.values())
    assert "weighed" not in str(words.readings([one(verdict="supported")]))


def test_what_is_said_of_a_quantity_is_said_once_for_all_maps_of_it():
    maps = [one(quantity=q) for q in (Quantity.SCORE, Quantity.EFFECT, Quantity.SCORE)] * 4
    said = words.readings(maps)
    assert [name.split(" [")[0] for name, _ in said] == ["Score", "Effect", "All maps"]
    assert words.readings([]) == []


def test_uncertainty_counts_the_seen_voxels():
    map_ = one()
    error = map_.relevance.with_tensor(torch.tensor([1.0, 1.0, 1.0, 1.0]).reshape(1, 4, 1, 1))
    assert "at 67 % of the voxels" in words.uncertainty(replace(map_, standard_error=error))
    assert "No uncertainty" in words.uncertainty(map_)


def test_reference_and_making():
    map_ = one(
        reference={"label": "study 1", "value": 58.5},
        knobs={"steps": 50},
        notes={"r2": 0.91},
        made={"seed": 3, "versions": {"torch": "2.13"}},
        layer="layer4",
    )
    assert words.reference(map_) == "study 1, output there 58.5 years"
    assert words.reference(one()) is None
    assert words.prediction(map_) == "61.25 years"
    assert dict(words.making(map_)) == {
        "method": "gradient",
        "form": "signed",
        "layer": "layer4",
        "steps": "50",
        "r2": "0.91",
        "seed": "3",
        "versions torch": "2.13",
    }

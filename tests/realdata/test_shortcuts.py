"""What the tuberculosis network answers to: the audit of ``docs/real-networks.md`` on a few of its radiographs."""

from pathlib import Path

import pytest
import torch
from shortcuts import (
    CARD,
    MARKER,
    SOURCE,
    WEIGHTS,
    Cropped,
    Explains,
    Radiograph,
    answers,
    burnt_words,
    marker,
    one_each,
    read_all,
)

from regard.evidence.shortcut import Border, detection_rates, dose_response, share_inside
from regard.models import Model, load_model

WORDS = ("00001303_001", "00003382_009", "00002491_012", "00001543_001")
"""Radiographs with the burnt-in word, the last one the least like its picture."""
NONE = ("00001801_000", "00009524_000", "00001452_002", "00000398_002", "00000591_004", "00000963_007", "00001021_000")
"""Radiographs without it, the first two the most like its picture."""
FURTHER = ("00001162_000", "00001182_004", "00001235_001", "00001250_001", "00001281_000", "00001300_000")


@pytest.fixture(scope="module")
def shown(data: Path) -> list[Radiograph]:
    return read_all(data, (*WORDS, *NONE, *FURTHER))


@pytest.fixture(scope="module")
def model(data: Path) -> Model:
    return load_model(CARD, weights=data / WEIGHTS, trust=True)


@pytest.fixture(scope="module")
def source(shown: list[Radiograph]) -> Radiograph:
    return next(r for r in shown if r.name == SOURCE)


def test_the_burnt_in_word_is_found_and_painted_out(shown: list[Radiograph], source: Radiograph) -> None:
    found = burnt_words(shown, source)
    assert set(found) == set(WORDS)
    for r in shown:
        if r.name in found:
            clean, place = found[r.name].on(r.image, 0.0), found[r.name].place
            assert float(clean[0][place].max()) < 0.7 * float(r.image[0][place].max())
            assert torch.equal(clean[0][~place], r.image[0][~place])
    # Painted out, the word is not found again.
    again = [
        Radiograph(r.name, r.patient, r.view, r.group, found[r.name].on(r.image, 0.0)) for r in shown if r.name in found
    ]
    assert not burnt_words(again, source)


def test_the_marker_is_letters_and_not_film(shown: list[Radiograph], source: Radiograph) -> None:
    mark = marker(source)
    assert 0.03 < float(mark.opacity.mean()) < 0.3
    clear = next(r for r in shown if r.name not in WORDS)
    made = mark.on(clear.image, 1.0)
    box = (slice(None), *MARKER)
    assert float((made[box] == clear.image[box]).float().mean()) > 0.6
    assert float(made[box].max()) > 200


def test_a_black_border_says_tuberculosis_and_a_marker_hardly_does(
    model: Model, shown: list[Radiograph], source: Radiograph
) -> None:
    clear = one_each([r for r in shown if r.name not in WORDS])
    images, whose = [r.image for r in clear], [r.patient for r in clear]
    n = len(clear)
    assert n >= 10
    border = dose_response(answers(model), images, [Border()] * n, doses=(0.0, 0.9), patients=whose)
    assert border[0].change.value == 0.0
    assert border[1].change.low > 1.0
    assert border[1].raised > 0.9
    letters = dose_response(answers(model), images, [marker(source)] * n, doses=(0.9,), patients=whose)
    assert abs(letters[0].change.value) < 0.4
    cropped = dose_response(answers(model), images[:1], [Cropped()], doses=(0.0,))
    assert cropped[0].change.value == 0.0


def test_maps_give_shares_and_few_images_no_rate(model: Model, shown: list[Radiograph], source: Radiograph) -> None:
    explains = Explains(model, ("grad-cam", "random-cam"))
    clear = [r for r in shown if r.name in NONE][:2]
    seen = detection_rates(explains.by("grad-cam"), [r.image for r in clear], [marker(source)] * 2, doses=(0.0, 0.9))
    assert all(s.rate.n == 2 and s.rate.value != s.rate.value for s in seen)
    assert all(0 < s.share < 1 for s in seen)
    relevance = explains.by("random-cam")(clear[0].image)
    assert relevance.shape == clear[0].image.shape[1:]
    assert share_inside(relevance, torch.ones(relevance.shape, dtype=torch.bool)) == pytest.approx(1)

"""What differs between two configurations, in words that a person would use."""

import pytest

from regard.io.configuration import differences


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({"seed": 0}, {"seed": 1}, ["seed is 1 and was 0"]),
        ({"target": None}, {"target": "output:1"}, ["target is 'output:1' and was not given"]),
        ({}, {"mask": "liver.nii.gz"}, ["mask is 'liver.nii.gz' and was not given"]),
        ({"methods": ["gradient"]}, {"methods": ["gradient", "lime"]}, ["methods is gradient, lime and was gradient"]),
        ({"quick": False}, {"quick": True}, ["quick is on and was off"]),
        ({"weights_sha256": "ab12"}, {"weights_sha256": "cd34"}, ["the weights have changed"]),
        ({"contents": {"mask": "ab12"}}, {"contents": {"mask": "cd34"}}, ["the contents of mask have changed"]),
        (
            {"mask": None, "contents": {"card": "1"}},
            {"mask": "m.nii", "contents": {"card": "1", "mask": "2"}},
            ["mask is 'm.nii' and was not given"],
        ),
        ({"seed": 0, "preflight": {"weights_sha256": "ab12"}, "versions": {"torch": "1"}}, {"seed": 0}, []),
        ({"seed": 0}, {"seed": 0}, []),
    ],
)
def test_differences_are_told_in_words(before: dict, now: dict, told: list[str]) -> None:
    assert differences(before, now) == told


def test_of_long_paths_the_part_that_differs_is_told() -> None:
    (told,) = differences({"model": "/a/" + "b" * 200 + "/old"}, {"model": "/a/" + "b" * 200 + "/new"})
    assert told.endswith("/old'")
    assert "/new'" in told
    assert len(told) < 200

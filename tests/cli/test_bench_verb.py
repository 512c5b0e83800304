"""``regard bench``: names, refusals, and the smoke size end to end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regard.bench.asked import listed


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["gradient,rise"], ("gradient", "rise")),
        (["gradient", "rise, gradient"], ("gradient", "rise")),
        (["occlusion:window=6,stride=2,rise"], ("occlusion:window=6,stride=2", "rise")),
        (["lime", "occlusion:window=6,stride=2@small"], ("lime", "occlusion:window=6,stride=2@small")),
        ([], ()),
    ],
)
def test_names_are_separated_by_commas(texts: list[str], names: tuple[str, ...]) -> None:
    assert listed(texts) == names


def test_mistakes_cost_nothing(regard: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "b"
    assert regard("bench", "--size", "huge", "-o", out).refused("huge", "reference")
    assert regard("bench", "-m", "gradent", "-o", out).refused("gradient")
    assert regard("bench", "--measures", "mass", "-o", out).refused("relevance-mass")
    assert regard("bench", "--phantoms", "liner", "-o", out).refused("linear")
    assert regard("bench").refused("output")
    assert not out.exists()


@pytest.mark.slow
def test_smoke_end_to_end_and_again(regard: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "b"
    first = regard("bench", "--size", "smoke", "-o", out)
    assert first.code == 0, first
    assert "occlusion" in first.out
    assert "true effect [signal]" in first.out
    for name in ("run.yaml", "bench.tsv", "report.html", "failures.tsv", "scores.json", "figures/leaderboard.png"):
        assert (out / name).exists(), name
    table, page = (out / "bench.tsv").read_bytes(), (out / "report.html").read_bytes()
    again = regard("bench", "--size", "smoke", "-o", out, "--json")
    assert again.code == 0
    assert (out / "bench.tsv").read_bytes() == table
    assert (out / "report.html").read_bytes() == page
    maps = {row["map"]: row for row in again.json["maps"]}
    assert maps["occlusion"]["kind"] == "method"
    assert maps["smooth surrogate"]["kind"] == "control"
    # A method that follows the network beats a surrogate of its own smoothness, even on a network trained for a second.
    leading = {name: float(row["average-precision"].split()[0]) for name, row in maps.items()}
    assert leading["occlusion"] > leading["smooth surrogate"] + 0.2
    assert regard("bench", "--size", "smoke", "--seed", "1", "-o", out).refused("another configuration")
    assert regard("bench", "--size", "smoke", "-m", "gradient", "-o", out).refused("another configuration")

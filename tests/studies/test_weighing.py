"""The weigh loop of studies, and model truth by rendering again, on networks whose answer is known by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regard.core.target import Output
from regard.evidence.measure import Places
from regard.explainers.spec import parse_methods
from regard.io import RunFolder
from regard.studies.config import StudyConfig
from regard.studies.rerendering import mixtures, places_that_matter
from regard.studies.run import StudyRun
from regard.studies.weighing import AT_DATA, Known, MapRequest, Weighing, make_map, plan_of, weigh_cohort

FACTORS = ("a", "b", "c")


def _images() -> Tensor:
    """Each factor fills a row of its own; (mixture, 1, 4, 5)."""
    images = torch.zeros(8, 1, 4, 5)
    for image, mixture in zip(images, mixtures(FACTORS), strict=True):
        for row, factor in enumerate(FACTORS):
            image[0, row] = mixture[factor]
    return images


@pytest.mark.parametrize(
    ("weights", "used"), [((1.0, 0, 0), {0}), ((1, -1, 0), {0, 1}), ((1, 0, 0.05), {0}), ((0, 0, 0), {0})]
)
def test_places_are_those_of_the_factors_that_an_output_uses(weights: tuple[float, ...], used: set[int]) -> None:
    images = _images()
    outputs = (images[:, 0, :3, 0] * torch.tensor(weights)).sum(1)
    places = places_that_matter(images, outputs, decoys=[1])
    wanted = torch.zeros(4, 5, dtype=torch.bool)
    wanted[sorted(used)] = True
    assert torch.equal(places.core, wanted)
    if 1 in used:
        assert places.decoy is None
    else:
        assert places.decoy is not None
        assert places.decoy.nonzero()[:, 0].unique().tolist() == [1]


def _linear() -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 1, bias=False))
    nn.init.zeros_(network[1].weight)
    network[1].weight.data[0, :16] = 1.0
    return network.requires_grad_(False)


def _places(rows: slice) -> Places:
    core = torch.zeros(8, 8, dtype=torch.bool)
    core[rows] = True
    return Places(core)


def _weighing(saved: Mapping[int, Mapping[str, Tensor]] | None = None) -> Weighing:
    network = _linear()
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) + 0.5
    spec = parse_methods(["input-x-gradient"])[0]
    return Weighing(
        ("x", "y", "z"),
        ("p", "q", "r"),
        "sum",
        lambda n: [MapRequest(spec, network, images[n : n + 1], Output(0))],
        lambda n: Known({spec.label: 2.0}, _places(slice(0, 2)), _places(slice(4, 6))),
        None if saved is None else lambda n: saved[n],
    )


def _rows(path: Path, weighing: Weighing) -> tuple[dict[tuple[str, str], Any], list[str]]:
    stages: list[str] = []
    with RunFolder(path, "study", {}) as folder:
        run = StudyRun(StudyConfig(), folder, stage=lambda act, label, done, total: stages.append(f"{label} {total}"))
        rows = weigh_cohort(run, weighing, plan_of(run, weighing, truth=True, n_null=6), n_later=1)
    return {(r.case, r.measure): r for r in rows if not r.control}, stages


def test_a_true_map_lies_at_model_truth_and_not_at_data_truth(tmp_path: Path) -> None:
    rows, stages = _rows(tmp_path / "run", _weighing())
    assert rows["x", "average-precision"].value == pytest.approx(1.0)
    assert rows["x", AT_DATA].value < 0.6
    assert rows["*", "average-precision"].n_patients == 3
    assert stages == ["x 4", "y 4", "z 4"]
    assert (tmp_path / "run/evidence.tsv").exists()


def test_saved_maps_are_weighed_as_they_are(tmp_path: Path) -> None:
    """Maps that light up the rows of data truth alone: right there, wrong at model truth."""
    wrong = torch.zeros(1, 1, 8, 8)
    wrong[..., 4:6, :] = torch.rand(2, 8, generator=torch.Generator().manual_seed(1)) + 0.5
    rows, _ = _rows(tmp_path / "run", _weighing({n: {"input-x-gradient": wrong} for n in range(3)}))
    assert rows["x", AT_DATA].value == pytest.approx(1.0)
    assert rows["x", "average-precision"].value < 0.6


def test_cases_that_are_weighed_are_not_asked_again(tmp_path: Path) -> None:
    first, _ = _rows(tmp_path / "run", _weighing())

    def refuse(n: int) -> Any:
        raise AssertionError("asked again")

    kept = Weighing(("x", "y", "z"), ("p", "q", "r"), "sum", refuse, refuse)
    second, _ = _rows(tmp_path / "run", kept)
    assert {k: str(r) for k, r in first.items()} == {k: str(r) for k, r in second.items()}


def test_a_map_is_made_of_the_network_and_input_that_it_is_asked_for() -> None:
    request = _weighing().requests(0)[0]
    once = make_map(request, seed=0, case="x")
    assert once.shape == (1, 1, 8, 8)
    assert torch.allclose(once.flatten()[:16], request.x.flatten()[:16])
    assert torch.equal(make_map(request, None, 2 * request.x, seed=0, case="x"), 2 * once)
    other = _linear()
    other[1].weight.data.neg_()  # type: ignore[index,union-attr,operator]
    assert torch.equal(make_map(request, other, seed=0, case="x"), -once)

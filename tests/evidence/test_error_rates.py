"""The verdict on maps whose truth is known, and the command that counts how often it is wrong."""

import time

import pytest
import torch
from torch import nn

from regard.core.explainer import Query
from regard.core.inputs import Inputs
from regard.core.quantity import Sign
from regard.core.spatial import blur
from regard.core.target import Output
from regard.evidence.error_rates import main, read_trials, tables, units, work, wrong_ways
from regard.evidence.measure import Exhibit
from regard.evidence.trials.images import DEVELOPMENT, REPORTED
from regard.evidence.trials.maps import CURVES, EXACT, WRONG, truly_wrong
from regard.evidence.trials.run import TRUE, trial
from regard.evidence.trials.situation import Situation
from regard.evidence.weigh import Neighbours, Plan, all_verdicts, comparisons, weigh_case
from regard.explainers.spec import MethodSpec

SIDE, PATIENTS = 20, 12


class Disc(nn.Module):
    """f(x) = sum of w x, with w a disc."""

    def __init__(self) -> None:
        super().__init__()
        axis = torch.arange(SIDE)
        inside = (axis[:, None] - 8) ** 2 + (axis[None] - 11) ** 2 <= 20
        self.weight = nn.Parameter(0.05 * inside.float()[None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.weight).sum((1, 2, 3))[:, None]


def on_a_background(patient: int) -> torch.Tensor:
    drawn = blur(torch.randn(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(patient)), 1.5)
    return 100 + 20 * drawn / drawn.std()


@pytest.mark.parametrize("method", ["integrated-gradients", "input-x-gradient", "shapley"])
@pytest.mark.parametrize("quick", [True, False])
def test_exact_maps_of_images_with_a_background_are_supported(method: str, quick: bool) -> None:
    """Blur and mean are no reference of these maps: tested with them, exact ones came out as worse than the image."""
    network, spec = Disc(), MethodSpec(method)
    explainer = spec.build(network)
    images = [on_a_background(n) for n in range(PATIENTS)]
    found = [explainer.compute(x, Output(0), case=f"c{n}") for n, x in enumerate(images)]
    maps = [f.relevance[0] for f in found]
    spread = float(torch.cat([network(x) for x in images]).detach().std())
    plan = Plan.of((), truth=False, quick=quick, n_patients=PATIENTS)
    weighed = []
    for n, x in enumerate(images):
        reference, parts = found[n].reference, found[n].parts
        assert reference is not None
        exhibit = Exhibit(
            network, x, Output(0), maps[n], explainer.quantity, explainer.sign, case=f"c{n}", spread=spread,
            explain=lambda f, t: spec.build(f).attribute(t, Output(0)), reference=reference[0],
            parts=None if parts is None else parts[0][0],
        )  # fmt: skip
        others = torch.stack([m for k, m in enumerate(maps) if k != n]).mean(0)
        weighed += weigh_case(
            {method: exhibit}, plan, target="t", beside={method: Neighbours(maps[(n + 1) % PATIENTS], others)}
        )
    verdict = all_verdicts(comparisons(weighed, by_case=False))[method]
    assert verdict.verdict == "supported", verdict.reasons


def test_a_network_that_sees_edges_leaves_it_open() -> None:
    """Filling makes borders, which are all that it sees: whatever the map, no filling can tell."""

    class Edges(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return sum(x.diff(dim=a).abs().flatten(1).sum(1, keepdim=True) for a in (2, 3))

    network, spec = Edges(), MethodSpec("integrated-gradients")
    flat = [0.02 * on_a_background(n) for n in range(PATIENTS)]
    weighed = []
    for n, x in enumerate(flat):
        explainer = spec.build(network)
        reference, _ = explainer.removal(Query(network, Inputs.of(x)))
        assert reference is not None
        exhibit = Exhibit(
            network, x, Output(0), explainer.attribute(x), explainer.quantity, Sign.RAISED, case=f"c{n}",
            reference=reference[0],
        )  # fmt: skip
        weighed += weigh_case({"m": exhibit}, Plan.of((), truth=False, quick=True, n_patients=PATIENTS), target="t")
    verdict = all_verdicts(comparisons(weighed, by_case=False))["m"]
    assert verdict.verdict == "undetermined"
    assert "No filling is neutral" in verdict.reasons[0]


def test_the_small_version_of_the_error_rates() -> None:
    rows = trial(Situation(0, 3, False), "contribution", n_patients=12, wrong=["half erased", "flipped"])
    words = {(r["map"], r["mode"]): r["verdict"] for r in rows}
    for mode in ("quick", "full"):
        assert words[TRUE, mode] == "supported"
        assert words["half erased", mode] != "supported"
        assert words["flipped", mode] == "not supported"


def test_what_is_developed_on_is_not_what_is_reported() -> None:
    assert not set(DEVELOPMENT) & set(REPORTED)
    one, other = (Situation(8, 3, reported).image(0) for reported in (False, True))
    assert one.shape == other.shape
    assert not torch.equal(one, other)
    assert all(float(Situation(n, 3, True).image(0).mean()) > 0.1 for n in (0, 8, 16))


def test_every_wrong_way_is_wrong_of_some_network_and_small_changes_are_not() -> None:
    situation = Situation(5, 3, False)
    exact = EXACT["effect"]
    x = situation.image(0)
    right = [exact.explain(situation, "c")(situation.network, x)]
    for name, way in WRONG.items():
        spoiled = way(situation, exact, 0)(situation.network, x)
        assert truly_wrong([spoiled], right, exact.sign), name
    assert not truly_wrong([CURVES["blurred by 0.5"](situation, exact, 0)(situation.network, x)], right, exact.sign)


def test_every_quantity_is_tried_often_enough_on_each_number_of_patients() -> None:
    tried = [u for number in range(100) for u in units(number)]
    for quantity, exact in EXACT.items():
        times = {n: [u for u in tried if u[1:] == (quantity, n)] for n in (1, 5, 12, 24)}
        # Those of 24 patients are judged by their first 12 too.
        assert len(times[12]) + len(times[24]) == 100
        assert all(len(times[n]) == 40 for n in (1, 5, 24))
        ways = [wrong_ways(number, quantity) for number in range(100)]
        assert all(len(set(w)) == len(w) == (4 if exact.sign is Sign.UNSIGNED else 3) for w in ways)
        # No way is kept for some kinds of network.
        assert all(len({k for w in ways[kind::8] for k in w}) >= 6 for kind in range(8))


def test_trials_are_kept_and_go_on_where_they_stopped(tmp_path, capsys) -> None:
    assert {n for _, _, n in units(1)} == {1, 5, 12}
    assert {n for _, _, n in units(2)} == {24}
    work(tmp_path, [16], seed=3, reported=False, curves=False, until=time.monotonic() + 0.01)
    done = sorted(p.name for p in tmp_path.iterdir())
    assert 0 < len(done) < len(EXACT)
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    work(tmp_path, [16], seed=3, reported=False, curves=False, until=time.monotonic() + 0.01)
    assert all(p.stat().st_mtime_ns == before[p.name] for p in tmp_path.iterdir() if p.name in before)
    main([str(tmp_path), "--tables"])
    told = capsys.readouterr().out
    assert told == tables(read_trials(tmp_path))
    assert "| contribution | 12 | quick |" in told

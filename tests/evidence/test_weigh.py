from dataclasses import replace

import numpy as np
import pytest
import torch
from hand_set import Oracle, oracle_map

from regard.core.quantity import Sign
from regard.evidence import MEASURES, controls, verdict
from regard.evidence.comparison import Figure, WeighedMap, compare
from regard.evidence.measure import AbstractMeasure, Measured
from regard.evidence.statistics import exact_interval
from regard.evidence.weigh import Neighbours, Plan, all_verdicts, comparisons, weigh_case


class Claimed(AbstractMeasure):
    """A measure that can be checked by hand: the map's claim for the first voxel."""

    family = "faithful"

    def measure(self, exhibit):
        return Measured(float(exhibit.relevance[0, 0, 0, 0]))


def weighed(n, value, null, *, direction="higher", control="surrogate", patients=None):
    return [
        WeighedMap(
            f"c{i}", (patients or [f"p{i}" for i in range(n)])[i], "m", "output:0",
            {"x": Figure(value(i), "1", direction, "faithful", {control: null(i)})}, columns={"sex": "FM"[i % 2]},
        )
        for i in range(n)
    ]  # fmt: skip


def test_the_oracle_is_complete():
    for number in (0, 1):
        oracle = Oracle(number, 3)
        x = oracle.image(0)
        assert float(oracle_map(oracle.network, x).sum()) == pytest.approx(float(oracle.network(x)[0, 0]), rel=1e-4)


def test_one_case_is_ranked_among_its_surrogates():
    found = compare(weighed(1, lambda i: 5.0, lambda i: list(range(99))), "x", "surrogate")
    assert (found.test, found.p, found.n_patients) == ("rank", pytest.approx(0.95), 1)
    few = compare(weighed(1, lambda i: 5.0, lambda i: list(range(20))), "x", "surrogate")
    assert np.isnan(few.p)


def test_several_patients_are_tested_by_sign_flips_of_the_difference():
    maps = weighed(12, lambda i: 1.0 + 0.01 * i, lambda i: [0.0, 0.2])
    found = compare(maps, "x", "surrogate")
    assert found.p == pytest.approx(2**-12)
    assert found.difference == pytest.approx(np.mean([1.0 + 0.01 * i - 0.1 for i in range(12)]))
    assert found.everywhere == 1.0
    lower = compare(weighed(12, lambda i: 1.0 + 0.01 * i, lambda i: [0.0], direction="lower"), "x", "surrogate")
    assert lower.p == 1.0
    assert lower.difference < 0


def test_the_better_reading_of_a_control_counts():
    found = compare(weighed(12, lambda i: 1.0, lambda i: [-3.0, 3.0], control="edges"), "x", "edges")
    assert found.null_mean == 3.0


def test_a_patient_of_many_cases_counts_once():
    patients = ["a"] * 6 + ["b"] * 6
    found = compare(weighed(12, lambda i: float(i < 6), lambda i: [0.0], patients=patients), "x", "surrogate")
    assert (found.n, found.n_patients, found.value) == (12, 2, 0.5)


def test_subgroups_and_cases_have_rows_of_their_own():
    rows = comparisons(weighed(12, lambda i: float(i), lambda i: [0.0]), by=["sex"])
    groups = {(r.case, r.group): r for r in rows if r.control == ""}
    assert groups["*", "sex=F"].value == pytest.approx(np.mean(range(0, 12, 2)))
    assert groups["c3", "*"].value == 3.0
    assert {r.p_adjusted >= r.p for r in rows if not np.isnan(r.p)} == {True}


def test_weighing_one_case_measures_every_control_once():
    oracle = Oracle(0, 3)
    exhibit = oracle.exhibit(0, oracle_map, spread=None, truth=False)
    plan = Plan({"claimed": Claimed()}, n_null=11)
    other = oracle_map(oracle.network, oracle.image(1))
    (found,) = weigh_case({"m": exhibit}, plan, target="output:0", beside={"m": Neighbours(other, other)})
    controls = found.figures["claimed"].controls
    assert {k: len(v) for k, v in controls.items()} == {
        "surrogate": 11, "displaced": 4, "edges": 2, "image": 2, "centred gaussian": 2, "other patient": 1,
        "cohort mean": 1, "randomised network": 1,
    }  # fmt: skip
    assert controls["other patient"] == [float(other[0, 0, 0, 0])]
    assert controls["edges"][0] == -controls["edges"][1]
    same = Neighbours(exhibit.relevance)
    (alone,) = weigh_case({"m": exhibit}, plan, target="output:0", beside={"m": same})
    assert "other patient" not in alone.figures["claimed"].controls
    assert any("the map itself" in note for note in alone.notes)


def test_exact_intervals():
    low, high = exact_interval(0, 20)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.025 ** (1 / 20))


def test_signed_insertion_is_deletion_and_is_not_counted_again():
    exhibit = Oracle(0, 3).exhibit(0, oracle_map, spread=None, truth=False)
    both = Plan.of(["deletion", "insertion"], truth=False, n_null=9)
    figures = {n: m.measure(exhibit).value for n, m in both.measures.items()}
    assert figures["insertion"] == pytest.approx(figures["deletion"], rel=1e-6)
    (signed,) = weigh_case({"m": exhibit}, both, target="output:0")
    single = {"sensitivity-n/own reference", "sensitivity-n/blur", "sensitivity-n/mean"}
    assert set(signed.figures) == {"deletion", "randomised-similarity"} | single
    assert any("not counted again" in note for note in signed.notes)
    (unsigned,) = weigh_case({"m": replace(exhibit, sign=Sign.UNSIGNED)}, both, target="output:0")
    assert {"deletion", "insertion"} <= set(unsigned.figures)
    # Holm over measures then has one hypothesis a method, as with deletion alone.
    alone = Plan.of(["deletion"], truth=False, n_null=9)
    (once,) = weigh_case({"m": exhibit}, alone, target="output:0")
    assert repr(comparisons([once])) == repr(comparisons([signed]))


def test_every_figure_of_a_verdict_is_a_registered_measure():
    assert {verdict.FAITHFUL, verdict.INSERTION, verdict.RESEMBLES, verdict.PLACED} <= set(MEASURES)
    exhibit = Oracle(1, 3).exhibit(0, oracle_map, spread=None, truth=False)
    (found,) = weigh_case({"m": exhibit}, Plan({}, n_null=9, seed=3), target="output:0")
    alone = MEASURES.load(verdict.RESEMBLES)(n_draws=5).measure(exhibit)
    assert found.figures[verdict.RESEMBLES].value == pytest.approx(alone.value)


def test_what_is_said_of_a_method_does_not_depend_on_the_others():
    exhibit = Oracle(0, 3).exhibit(0, oracle_map, spread=None, truth=False)
    plan = Plan({"claimed": Claimed()}, n_null=99)
    maps = weigh_case(dict.fromkeys("abcdefgh", exhibit), plan, target="output:0")
    alone = comparisons([maps[0]])
    assert repr([r for r in comparisons(maps) if r.method == "a"]) == repr(alone)


class Counting(torch.nn.Module):
    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network, self.n_seen = network, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.n_seen += len(x)
        return self.network(x)


def test_the_quick_verdict_asks_the_network_once_for_all_maps():
    plain = Oracle(0, 3).exhibit(0, oracle_map, spread=None, truth=False)
    seen = []
    for n_null in (9, 99):
        exhibit = replace(plain, network=Counting(plain.network), explain=None)
        plan = Plan.of([], truth=False, quick=True, n_null=n_null)
        (found,) = weigh_case({"m": exhibit}, plan, target="output:0")
        seen.append(exhibit.network.n_seen)
    # The image; the sets for its reference, blur and mean; for its reference the parts one by one, and soft borders.
    assert seen[0] == seen[1] == 1 + 3 * (3 * 64) + 256 + 64
    measure = plan.measures[verdict.QUICK]
    assert found.figures[verdict.QUICK].value == measure.measure(plain).value
    edges = found.figures[verdict.QUICK].controls["edges"][0]
    assert edges == measure.measure(plain.with_map(controls.edges(plain.x))).value
    assert "sensitivity-n" in all_verdicts(comparisons([found]))["m"].reasons[0]

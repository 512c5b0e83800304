"""Surrogates that cannot change a verdict are not drawn, and no verdict is another for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from regard.core.quantity import Sign
from regard.evidence.comparison import DRAWN
from regard.evidence.curtailment import Curtailment
from regard.evidence.measure import Exhibit
from regard.evidence.statistics import rank_p
from regard.evidence.trials.maps import EXACT, WRONG
from regard.evidence.trials.situation import Situation
from regard.evidence.weigh import Plan, all_verdicts, comparisons, weigh_case

N = 99


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_it_stops_when_the_rest_cannot_matter_and_not_before(direction: str) -> None:
    """The rest is tried in its two extreme forms: all better and all worse than the map."""
    rng = np.random.default_rng(0)
    for value in (0.0, 0.5, 1.0, 1.4, 2.5):
        draws = list(rng.normal(size=N))
        one = {"m": (value, direction)}
        rule = Curtailment(one, one, N, 0.05)  # type: ignore[arg-type]
        for k in range(1, N + 1):
            sign = 1.0 if direction == "higher" else -1.0
            ends = []
            for extreme in (-10.0, 10.0):
                whole = [sign * d for d in draws[:k]] + [extreme] * (N - k)
                ends.append([rank_p(sign * value, whole, side) <= 0.05 for side in ("greater", "less")])  # type: ignore[arg-type]
            settled = not any(word for end in ends for word in end)
            assert rule.decided({"m": draws[:k]}) == settled, (value, k)


def test_nothing_is_stopped_by_measures_that_do_not_judge() -> None:
    assert not Curtailment({}, {"other": (0.0, "higher")}, N, 0.05).decided({"other": [0.0] * 50})
    assert not Curtailment({"m": (0.0, "higher")}, {}, N, 0.05).decided({})


@pytest.mark.parametrize("quantity", ["contribution", "score"])
def test_the_words_are_those_of_all_surrogates(quantity: str) -> None:
    situation = Situation(1, 4, False)
    exact = EXACT[quantity]
    x, case = situation.image(0), "c"
    maps = {"exact": exact.explain(situation, case)}
    maps |= {name: WRONG[name](situation, exact, 0) for name in ("half erased", "another network's", "flipped")}
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    maps["noise"] = lambda network, image: noise
    reference, parts = exact.removal(situation, x, case)
    words, made = [], []
    for curtail in (False, True):
        exhibits = {
            name: Exhibit(
                situation.network, x, situation.target, explain(situation.network, x), exact.quantity, exact.sign,
                case=case, explain=None if name == "noise" else explain, reference=reference, parts=parts,
                batch_size=512,
            )
            for name, explain in maps.items()
        }  # fmt: skip
        plan = replace(Plan.of((), truth=False, n_null=N), curtail=curtail)
        rows = comparisons(weigh_case(exhibits, plan, target="t"), by_case=False)
        words.append({m: v.verdict for m, v in all_verdicts(rows).items()})
        made.append({r.method: (r.n_null, r.test) for r in rows if r.control == DRAWN and r.measure == "deletion"})
    assert words[0] == words[1]
    assert {n for n, _ in made[0].values()} == {N}
    for name, (n, test) in made[1].items():
        assert (n < N) == (test == "rank, stopped"), name
    # A map that is worse than all has to be shown so to the end, and so has one that is better.
    assert made[1]["noise"][0] < N, made


@pytest.mark.parametrize("patients", [("a", "b"), ("a", "a")])
def test_several_cases_are_not_stopped_even_of_one_patient(patients: tuple[str, str]) -> None:
    """One case that no surrogate can decide says nothing of the mean of two."""
    situation = Situation(0, 4, False)
    plan = Plan.of((), truth=False, quick=True, n_patients=len(set(patients)))
    weighed = []
    for n, patient in enumerate(patients):
        x = situation.image(n)
        exact = EXACT["contribution"].explain(situation, f"c{n}")(situation.network, x)
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        exhibit = Exhibit(
            situation.network, x, situation.target, exact if n else noise, EXACT["score"].quantity, Sign.RAISED,
            case=f"c{n}", batch_size=512,
        )  # fmt: skip
        weighed += weigh_case({"m": exhibit}, plan, target="t", patient=patient)
    assert {len(m.figures["sensitivity-n"].controls[DRAWN]) for m in weighed} == {N}
    chance = next(r for r in comparisons(weighed, by_case=False) if r.measure == "sensitivity-n" and r.control == DRAWN)
    assert chance.test == "rank"
    assert chance.p == chance.p

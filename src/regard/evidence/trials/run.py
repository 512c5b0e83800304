"""One trial: the exact map of a situation and some wrong ones, weighed as a run would be."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from regard.core.quantity import Quantity
from regard.evidence.comparison import DRAWN, WeighedMap
from regard.evidence.measure import Exhibit, Explain
from regard.evidence.trials.maps import CURVES, EXACT, WRONG, Spoil, default_of, truly_wrong
from regard.evidence.trials.situation import Situation
from regard.evidence.verdict import FAITHFUL
from regard.evidence.weigh import Neighbours, Plan, all_verdicts, comparisons, weigh_case

__all__ = ["TRUE", "trial"]

TRUE = "exact"
"""What the exact map is called."""


def trial(
    situation: Situation, quantity: str, *, n_patients: int, wrong: Sequence[str], n_null: int = 99,
    also: Sequence[int] = (),
) -> list[dict[str, Any]]:  # fmt: skip
    """Words for the exact map and the named wrong ones, by quick and in full; what is not truly wrong is left out.

    Full and quick are read from one weighing, with the figures that each would take by itself.

    Parameters
    ----------
    situation
        Network and patients.
    quantity
        One of `EXACT`, whose exact map is not judged where it is a score; or one of `DEFAULTS`.
    n_patients, n_null
        As in `regard.evidence.weigh.Plan`.
    wrong
        Names of `WRONG` or `CURVES`.
    also
        Smaller numbers of patients that are judged too, the first so many of the same; their surrogates a case have to
        be as many.

    Returns
    -------
    list of dict
        For each number of patients, mode and map: ``n``, ``mode``, ``map``, ``verdict``, ``reasons``, ``share``.
    """
    exact, seed = EXACT[quantity] if quantity in EXACT else default_of(quantity), situation.seed
    network, target = situation.network, situation.target
    images = [situation.image(n) for n in range(n_patients)]
    cases = [f"{situation.key}-{n:02d}" for n in range(n_patients)]
    with torch.no_grad():
        values = target(network(torch.cat(images))).double()
    spread = float(values.std()) if n_patients > 1 and float(values.std()) > 0 else None
    own: Spoil = lambda s, e, n: e.explain(s, cases[n])  # noqa: E731
    known: Mapping[str, Spoil] = {TRUE: own, **WRONG, **CURVES}
    methods: dict[str, list[Explain]] = {
        name: [known[name](situation, exact, n) for n in range(n_patients)] for name in (TRUE, *wrong)
    }
    maps = {name: [m(network, x) for m, x in zip(each, images, strict=True)] for name, each in methods.items()}
    kept = {k: v for k, v in maps.items() if k == TRUE or k in CURVES or truly_wrong(v, maps[TRUE], exact.sign)}
    if quantity in EXACT and exact.quantity is Quantity.SCORE:
        del kept[TRUE]
    removed = [exact.removal(situation, x, c) for x, c in zip(images, cases, strict=True)]
    plan = Plan.of((), truth=False, n_null=n_null, n_patients=n_patients, seed=seed, curtail=n_patients == 1)
    weighed = []
    for n, (x, case) in enumerate(zip(images, cases, strict=True)):
        reference, parts = removed[n]
        exhibits, beside = {}, {}
        for name, each in kept.items():
            exhibits[name] = Exhibit(
                network, x, target, each[n], exact.quantity, exact.sign, case=case, spread=spread,
                explain=methods[name][n], reference=reference, parts=parts, seed=seed, batch_size=512,
            )  # fmt: skip
            rest = [m for k, m in enumerate(each) if k != n]
            beside[name] = Neighbours(each[(n + 1) % n_patients], torch.stack(rest).mean(0)) if rest else Neighbours()
        weighed += weigh_case(exhibits, plan, target=target.label, beside=beside)
    found = []
    for n in (n_patients, *also):
        first = [m for m in weighed if m.case in cases[:n]]
        found += _judged([_without(m, FAITHFUL) for m in first], n, "quick", seed)
        found += _judged(first, n, "full", seed)
    return found


def _without(weighed: WeighedMap, measure: str) -> WeighedMap:
    return replace(weighed, figures={k: f for k, f in weighed.figures.items() if k != measure})


def _judged(weighed: Sequence[WeighedMap], n: int, mode: str, seed: int) -> list[dict[str, Any]]:
    rows = comparisons(weighed, seed=seed, by_case=False)
    found = []
    for name, verdict in all_verdicts(rows).items():
        chance = [r for r in rows if r.method == name and r.control == DRAWN and r.share == r.share]
        found.append(
            {
                "n": n, "mode": mode, "map": name, "verdict": verdict.verdict, "reasons": list(verdict.reasons),
                "share": {r.measure: round(r.share, 3) for r in chance},
                "steady": {r.measure: round(r.steady, 3) for r in chance if r.steady == r.steady},
                "attainable": {r.measure: round(r.attainable, 3) for r in chance},
            }
        )  # fmt: skip
    return found

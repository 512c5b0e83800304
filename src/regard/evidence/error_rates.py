"""How often the verdict is wrong: ``python -m regard.evidence.error_rates`` writes the table of the documentation.

Each trial is one hand-set network with its patients; every way of spoiling its true map is judged beside the true map,
each alone, as a run with one method is.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from regard.evidence.measure import Explain
from regard.evidence.oracles import SPOILED, Oracle, oracle_map
from regard.evidence.statistics import exact_interval
from regard.evidence.weigh import Neighbours, Plan, all_verdicts, comparisons, weigh_case

__all__ = ["HELD_OUT", "Rate", "error_rates", "trial"]

HELD_OUT = 30_000
"""Seed of the held-out trials, drawn once; everything was designed with seeds below 100, and 20000 was used before."""

_TRUE = "true map"


@dataclass(frozen=True)
class Rate:
    """How often one kind of map was called supported, over trials.

    Parameters
    ----------
    kind
        ``"true map"`` or how it was spoiled.
    counts
        Number of each verdict.
    """

    kind: str
    counts: Mapping[str, int]

    @property
    def n(self) -> int:
        """Number of trials."""
        return sum(self.counts.values())

    @property
    def supported(self) -> int:
        """Number of trials that were called supported."""
        return self.counts.get("supported", 0)


def trial(
    number: int, *, n_patients: int, seed: int, truth: bool = False, quick: bool = False, n_null: int = 99
) -> dict[str, str]:
    """Judge the true map and every spoiled one of one oracle; the verdict by kind of map."""
    oracle = Oracle(number, seed)
    plan = Plan.of((), truth=truth, quick=quick, n_null=n_null, n_patients=n_patients, seed=seed)
    spread = oracle.spread(n_patients) if n_patients > 1 else None
    kinds: dict[str, Callable[[Oracle, int], Explain]] = {_TRUE: lambda o, n: oracle_map, **SPOILED}
    found: dict[str, str] = {}
    for kind, make in kinds.items():
        shown = [oracle.exhibit(n, make(oracle, n), spread=spread, truth=truth) for n in range(n_patients)]
        maps = []
        for n, exhibit in enumerate(shown):
            beside = Neighbours()
            if n_patients > 1:
                others = [e.relevance for m, e in enumerate(shown) if m != n]
                beside = Neighbours(shown[(n + 1) % n_patients].relevance, sum(others[1:], others[0]) / len(others))
            maps += weigh_case({kind: exhibit}, plan, target="output:0", beside={kind: beside})
        found[kind] = all_verdicts(comparisons(maps, seed=seed, by_case=False))[kind].verdict
    return found


def error_rates(
    numbers: Sequence[int], *, n_patients: int, seed: int, truth: bool = False, quick: bool = False
) -> list[Rate]:
    """Verdicts over many trials, by kind of map; all spoiled ones together come last."""
    counts: dict[str, Counter[str]] = {}
    for number in numbers:
        for kind, word in trial(number, n_patients=n_patients, seed=seed, truth=truth, quick=quick).items():
            counts.setdefault(kind, Counter())[word] += 1
    spoiled = sum((c for kind, c in counts.items() if kind != _TRUE), Counter())
    return [*(Rate(kind, c) for kind, c in counts.items()), Rate("all spoiled", spoiled)]


def _lines(rates: Sequence[Rate], n_patients: int, truth: bool) -> list[str]:
    rows = []
    for rate in rates:
        low, high = exact_interval(rate.supported, rate.n)
        share = 100 * rate.supported / rate.n
        refuted = rate.counts.get("not supported", 0)
        rows.append(
            f"| {n_patients} | {'yes' if truth else 'no'} | {rate.kind} | {rate.n} | {share:.1f} % "
            f"({100 * low:.1f} to {100 * high:.1f}) | {100 * refuted / rate.n:.1f} % |"
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seed", type=int, default=HELD_OUT)
    parser.add_argument("--patients", type=int, nargs="*", default=[1, 12, 24])
    parser.add_argument("--quick", action="store_true", help="the verdict of `regard weigh --quick`")
    asked = parser.parse_args(arguments)
    sys.stdout.write(
        "| patients | truth known | map | trials | called supported (exact 95 % interval) | called not supported |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
    )
    for n_patients in asked.patients:
        for truth in (False, True) if n_patients > 1 else (False,):
            begun = time.monotonic()
            rates = error_rates(
                range(asked.trials), n_patients=n_patients, seed=asked.seed, truth=truth, quick=asked.quick
            )
            sys.stdout.write("\n".join(_lines(rates, n_patients, truth)) + "\n")
            sys.stdout.flush()
            sys.stderr.write(f"{n_patients} patients: {time.monotonic() - begun:.0f} s\n")


if __name__ == "__main__":
    main()

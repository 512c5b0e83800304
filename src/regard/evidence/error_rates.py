"""How often the verdict is wrong: ``python -m regard.evidence.error_rates`` writes the tables of the documentation.

Each trial is one network with its patients. Its exact map and wrong ones are weighed, each alone, as a run with one
method is. Trials are kept one by one in a folder, so that the command goes on where it stopped; ``--tables`` writes the
tables of what is there.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from regard.core.errors import RegardError
from regard.core.quantity import Sign
from regard.evidence.statistics import exact_interval
from regard.evidence.trials.maps import CURVES, DEFAULTS, EXACT, WRONG
from regard.evidence.trials.run import TRUE, trial
from regard.evidence.trials.situation import Situation
from regard.io.atomic import write_json

__all__ = ["HELD_OUT", "Unit", "read_trials", "tables", "units", "work", "wrong_ways"]

HELD_OUT = 50_000
"""Seed of the reported trials; thresholds were chosen with seeds below 100 on other generators."""

Unit = tuple[int, str, int]
"""Number of the situation, quantity, patients."""

_WRONG = list(WRONG)


def units(number: int) -> Iterator[Unit]:
    """What is tried of one situation: 24 patients or, of three in five, 12; of two in five also 5 patients, and one."""
    many = number % 5 in (0, 2)
    for quantity in EXACT:
        yield number, quantity, 24 if many else 12
    if number % 5 in (1, 3):
        for n in (5, 1):
            for quantity in EXACT:
                yield number, quantity, n


def wrong_ways(number: int, quantity: str) -> list[str]:
    """Three wrong ways, by turns over situations and quantities; four where many are wrong in name only.

    Kinds of network come again after eight situations, and so would the ways: each round begins one further.
    """
    n = 4 if EXACT[quantity].sign is Sign.UNSIGNED else 3
    first = number * n + number // len(_WRONG) + list(EXACT).index(quantity)
    return [_WRONG[(first + k * 3) % len(_WRONG)] for k in range(n)]


def work(
    folder: Path, numbers: Sequence[int], *, seed: int, reported: bool, until: float, curves: bool = False,
    defaults: bool = False, only: Sequence[str] = (),
) -> None:  # fmt: skip
    """Run the trials that ``folder`` lacks, until a time of `time.monotonic`; of ``only`` some quantities if given."""
    for number in numbers:
        situation = Situation(number, seed, reported)
        asked = [(number, name, 12) for name in DEFAULTS] if defaults else list(units(number))
        for _, quantity, n in asked:
            path = folder / f"{situation.key}-{quantity.replace(' ', '-')}-{n:02d}{'-curves' if curves else ''}.json"
            if path.exists() or (only and quantity not in only) or (curves and n != 12) or time.monotonic() > until:
                continue
            names = [] if defaults else list(CURVES) if curves else wrong_ways(number, quantity)
            begun = time.monotonic()
            try:
                found = trial(situation, quantity, n_patients=n, wrong=names, also=(12,) if n > 12 else ())
            except RegardError:
                # A default that the network cannot have, such as a layer of one that has none.
                if not defaults:
                    raise
                continue
            about = {
                "situation": situation.key, "network": situation.kind, "images": situation.images_like,
                "axes": len(situation.size), "quantity": quantity, "seconds": round(time.monotonic() - begun, 1),
            }  # fmt: skip
            write_json(path, "verdict-trial", {**about, "curves": curves, "defaults": defaults, "found": found})


def read_trials(folder: Path) -> list[dict[str, Any]]:
    """Every judged map of the trials in a folder."""
    rows = []
    for path in sorted(folder.glob("*.json")):
        said = json.loads(path.read_text())
        about = {k: v for k, v in said.items() if k not in ("found", "schema")}
        rows += [{**about, **found} for found in said["found"]]
    return rows


def _share(k: int, n: int) -> str:
    if n == 0:
        return "none"
    low, high = exact_interval(k, n)
    return f"{k} of {n}: {100 * k / n:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _row(rows: Sequence[Mapping[str, Any]]) -> str:
    exact = [r["verdict"] for r in rows if r["map"] == TRUE]
    wrong = [r["verdict"] for r in rows if r["map"] != TRUE]
    return " | ".join(
        [
            _share(exact.count("supported"), len(exact)),
            _share(exact.count("not supported"), len(exact)),
            _share(wrong.count("supported"), len(wrong)),
            _share(wrong.count("not supported"), len(wrong)),
        ]
    )


_HEAD = "exact: supported | exact: not supported | wrong: supported | wrong: not supported"


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown tables: by quantity, patients and mode; by what was tried; by wrong way; contradictions; curves."""
    stepped = [r for r in rows if r["curves"]]
    plain = [r for r in rows if not r["curves"] and not r["defaults"]]
    lines = [f"| quantity | patients | mode | {_HEAD} |", "| --- " * 7 + "|"]
    for quantity in EXACT:
        for n in sorted({r["n"] for r in plain}):
            for mode in ("quick", "full"):
                these = [r for r in plain if (r["quantity"], r["n"], r["mode"]) == (quantity, n, mode)]
                if these:
                    lines.append(f"| {quantity} | {n} | {mode} | {_row(these)} |")
    for mode in ("quick", "full"):
        many = [r for r in plain if r["mode"] == mode and r["n"] >= 12]
        lines.append(f"| all | 12 and 24 | {mode} | {_row(many)} |")
    for what in ("network", "images", "axes"):
        lines += ["", f"| {what}, from 12 patients | {_HEAD} |", "| --- " * 5 + "|"]
        many = [r for r in plain if r["n"] >= 12]
        for value in sorted({str(r[what]) for r in many}):
            lines.append(f"| {value} | {_row([r for r in many if str(r[what]) == value])} |")
    lines += ["", "| wrong way, from 12 patients | mode | supported | not supported |", "| --- " * 4 + "|"]
    for way in WRONG:
        for mode in ("quick", "full"):
            words = [r["verdict"] for r in plain if r["map"] == way and r["mode"] == mode and r["n"] >= 12]
            counts = " | ".join(_share(words.count(w), len(words)) for w in ("supported", "not supported"))
            lines.append(f"| {way} | {mode} | {counts} |")
    lines += ["", *_contradictions(plain), "", *_curves(stepped), "", *_defaults([r for r in rows if r["defaults"]])]
    return "\n".join(lines) + "\n"


def _contradictions(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    pairs: dict[tuple[Any, ...], dict[str, str]] = {}
    for r in rows:
        pairs.setdefault((r["situation"], r["quantity"], r["n"], r["map"]), {})[r["mode"]] = r["verdict"]
    counts = Counter((p[3] == TRUE, words["quick"], words["full"]) for p, words in pairs.items() if len(words) == 2)
    words = ("supported", "undetermined", "not supported")
    lines = ["| map | quick says | full: supported | full: undetermined | full: not supported |", "| --- " * 5 + "|"]
    for exact in (True, False):
        for quick in words:
            told = " | ".join(str(counts[exact, quick, full]) for full in words)
            lines.append(f"| {'exact' if exact else 'wrong'} | {quick} | {told} |")
    return lines


def _curves(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| change | mode | supported | not supported | mean share of the attainable |", "| --- " * 5 + "|"]
    for way in (TRUE, *CURVES):
        for mode in ("quick", "full"):
            these = [r for r in rows if r["map"] == way and r["mode"] == mode]
            if these:
                words = [r["verdict"] for r in these]
                shares = [min(r["share"].values()) for r in these if r["share"]]
                counts = " | ".join(_share(words.count(w), len(words)) for w in ("supported", "not supported"))
                lines.append(f"| {way} | {mode} | {counts} | {sum(shares) / max(1, len(shares)):.2f} |")
    return lines if len(lines) > 2 else []


def _defaults(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| method with its defaults | mode | supported | not supported | mean share |", "| --- " * 5 + "|"]
    for name in DEFAULTS:
        for mode in ("quick", "full"):
            these = [r for r in rows if r["quantity"] == name and r["mode"] == mode]
            if these:
                words = [r["verdict"] for r in these]
                shares = [min(r["share"].values()) for r in these if r["share"]]
                counts = " | ".join(_share(words.count(w), len(words)) for w in ("supported", "not supported"))
                lines.append(f"| {name} | {mode} | {counts} | {sum(shares) / max(1, len(shares)):.2f} |")
    return lines if len(lines) > 2 else []


def main(arguments: Sequence[str] | None = None) -> None:
    """Run trials, or write the tables of those that are done to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where trials are kept; what is there is not done again")
    parser.add_argument("--situations", type=int, nargs=2, default=[0, 100], help="first, and one after the last")
    parser.add_argument("--every", type=int, default=1, help="only every so many, so that several processes share")
    parser.add_argument("--seed", type=int, default=HELD_OUT)
    parser.add_argument("--development", action="store_true", help="of the generators that thresholds were chosen on")
    parser.add_argument("--curves", action="store_true", help="shifts, blurs and sharpening in steps")
    parser.add_argument("--defaults", action="store_true", help="methods with their default settings, 12 patients")
    parser.add_argument("--quantity", choices=list(EXACT), action="append", help="only this one; repeatable")
    parser.add_argument("--minutes", type=float, default=240.0, help="begin no trial after this time")
    parser.add_argument("--tables", action="store_true", help="run nothing")
    asked = parser.parse_args(arguments)
    if not asked.tables:
        asked.folder.mkdir(parents=True, exist_ok=True)
        numbers = range(asked.situations[0], asked.situations[1], asked.every)
        work(
            asked.folder, numbers, seed=asked.seed, reported=not asked.development, curves=asked.curves,
            defaults=asked.defaults, only=asked.quantity or (), until=time.monotonic() + 60 * asked.minutes,
        )  # fmt: skip
    sys.stdout.write(tables(read_trials(asked.folder)))


if __name__ == "__main__":
    main()

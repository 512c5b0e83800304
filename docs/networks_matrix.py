"""The page of every method on every network of tests/networks: python docs/networks_matrix.py, into docs/networks.md.

python docs/networks_matrix.py                   all of it, some ten minutes
python docs/networks_matrix.py --keep FILE       what is done is kept in a file, and a run that was stopped goes on
python docs/networks_matrix.py --only UNet,Swin  some networks, printed and not written
"""

import argparse
import json
import logging
import re
import sys
import textwrap
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from regard.explainers import METHODS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from networks.judge import Cell, judge  # noqa: E402
from networks.table import BY_NAME, ENTRIES  # noqa: E402

SIGNS = {"right": "●", "plausible": "○", "warned": "!", "refused": "-", "failed": "✗"}
WORDS = {
    "right": "right: the same as a derivation that does not use the method, to 0.01 % of the largest value "
    "(int8 1 %, float16 5 %, bfloat16 20 %)",
    "plausible": "plausible, not derived: finite, the network as it was, the same again and beside another case",
    "warned": "a warning that names what is peculiar about this network",
    "refused": "refused in one sentence",
    "failed": "none of these: a fault",
}
FAMILIES = {
    "Class activation maps": r"explainers\.cam\.",
    "Gradients, attention and propagation": r"explainers\.(gradient|attention|propagation)\.|DeepLIFT",
    "Perturbation and Shapley values": r"explainers\.(perturbation|learned)\.|ShapleySampling",
}
"""Title -> pattern of where a method's class is."""


def run(names: list[str], keep: Path | None) -> list[Cell]:
    """Every method on the named networks; cells that a file keeps are taken from there."""
    cells: dict[tuple[str, str], Cell] = {}
    if keep is not None and keep.exists():
        cells = {(c["network"], c["method"]): Cell(**c) for c in json.loads(keep.read_text())}
    for name in names:
        missing = [m for m in METHODS if (name, m) not in cells]
        network = BY_NAME[name].make() if missing else None
        for method in missing:
            cells[name, method] = judge(BY_NAME[name], method, network)
        row = "".join(SIGNS[cells[name, m].outcome] for m in METHODS)
        print(f"{name:32s} {row} {sum(cells[name, m].seconds for m in METHODS):6.1f} s", flush=True)
        for method in METHODS:
            if cells[name, method].outcome == "failed":
                print(f"    {method}: {cells[name, method].sentence[:300]}", flush=True)
        if keep is not None and missing:
            keep.write_text(json.dumps([asdict(c) for c in cells.values()], indent=1))
    return [cells[name, method] for name in names for method in METHODS]


def _kind(sentence: str) -> str:
    """A sentence without its numbers, names and shapes, so that alike ones share a footnote."""
    sentence = re.sub(r"^\w+: |^\w+(?=, a network| on a model)", "", sentence)
    plain = re.sub(r"\([^()]*\d[^()]*\)|'[^']*'|\d+(\.\d+)?(e-?\d+)?", "#", sentence)
    plain = re.sub(r"(an output of|type|Sequential|DataParallel) ?[A-Z]\w+", "#", plain)
    return re.sub(r"[A-Z][A-Za-z0-9]+(?= that| in the network)", "#", plain)[:90]


class Notes:
    """Footnotes: sentences of one kind share one."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.texts: list[str] = []

    def number(self, sentence: str) -> int:
        """Number of a sentence's footnote."""
        kind = _kind(sentence)
        if kind not in self.numbers:
            self.numbers[kind] = len(self.texts) + 1
            self.texts.append(sentence)
        return self.numbers[kind]


def _table(title: str, methods: list[str], cells: dict[tuple[str, str], Cell], notes: Notes) -> list[str]:
    lines = [f"## {title}", "", "| network | " + " | ".join(f"`{m}`" for m in methods) + " |"]
    lines.append("| --- |" + " --- |" * len(methods))
    for entry in ENTRIES:
        row = []
        for method in methods:
            cell = cells[entry.name, method]
            mark = SIGNS[cell.outcome]
            if cell.outcome in ("warned", "refused", "failed"):
                mark += f" {notes.number(cell.sentence)}" + ("*" if cell.open_reason else "")
            row.append(mark)
        lines.append(f"| {entry.name} | " + " | ".join(row) + " |")
    return [*lines, ""]


def page(cells: list[Cell]) -> str:
    """The page, in Markdown."""
    by = {(c.network, c.method): c for c in cells}
    counts, notes = Counter(c.outcome for c in cells), Notes()
    n_open = sum(bool(c.open_reason) for c in cells)
    lines = [
        "# Every method on networks as people have them",
        "",
        *textwrap.wrap(
            f"{len(ENTRIES)} networks by {len(list(METHODS))} methods, n = {len(cells)} cells. Of the networks "
            f"{sum(e.source == 'monai' for e in ENTRIES)} are MONAI's; "
            f"{sum(e.source == 'torch' for e in ENTRIES)} are plain PyTorch that torch's own tools have treated "
            "(exported, scripted, quantised, compiled, normed, checkpointed); the others are small stand-ins for "
            "shapes that are published and for what people do to networks. Each is small, untrained and given two "
            "random images: this says whether a map is what its method promises on such a network, not whether it is "
            "of use.",
            120,
        ),
        "",
        "```console",
        "python docs/networks_matrix.py",
        "```",
        "",
        f"makes this page (Regard {version('regard')}, torch {torch.__version__}, MONAI {version('monai')}).",
        "",
        "| | cells | what it means |",
        "| --- | --- | --- |",
        *(f"| {SIGNS[o]} | {counts[o]} | {WORDS[o]} |" for o in SIGNS),
        "",
        *textwrap.wrap(
            f"Of the {counts['refused']} refusals {n_open} are open (marked *): nothing about the network forbids a "
            "map there. A warning counts only where its sentence names this network's condition. Derivations are "
            "plain loops over the network itself (`tests/networks/by_hand.py`, `cams_by_hand.py`): the autograd "
            "gradient, path rules step by step, windows filled one by one, the mean over all orders of the parts, a "
            "layer's activations arranged by hand. `deeplift`, `lrp` and `shapley` count as right where their map "
            "adds up to the change that it divides, computed apart from it; otherwise as plausible. Every network is "
            "compared byte for byte with what it was, in each cell.",
            120,
        ),
        "",
    ]
    for title, pattern in FAMILIES.items():
        lines += _table(title, [m for m in METHODS if re.search(pattern, METHODS.entry(m)[0])], by, notes)
    lines += ["## Footnotes", "", "The sentence as the first such cell gave it.", ""]
    lines += [f"{n}. {_safe(re.sub(r'^[A-Z][A-Za-z]+: ', '', text))}" for n, text in enumerate(notes.texts, 1)]
    lines += ["", "## Open", "", "Refused, though a map could be right:", ""]
    lines += _open(cells, notes)
    lines += ["", "## The networks", "", "| network | code | inputs | what is peculiar |", "| --- | --- | --- | --- |"]
    for entry in ENTRIES:
        given = entry.inputs()
        tensors = given.values() if isinstance(given, dict) else given
        shapes = ", ".join("x".join(str(n) for n in x.shape[1:]) for x in tensors)
        lines.append(f"| {entry.name} | {entry.source} | {shapes} | {entry.condition} |")
    return "\n".join([*lines, ""])


def _open(cells: list[Cell], notes: Notes) -> list[str]:
    kinds: dict[int, dict[str, list[str]]] = {}
    for cell in cells:
        if cell.open_reason:
            kinds.setdefault(notes.number(cell.sentence), {}).setdefault(cell.network, []).append(cell.method)
    lines = []
    for number, rows in sorted(kinds.items()):
        whose: dict[str, list[str]] = {}
        for network, methods in rows.items():
            whose.setdefault(", ".join(f"`{m}`" for m in methods), []).append(network)
        lines.append(f"- Footnote {number}: " + "; ".join(f"{' · '.join(n)}: {m}" for m, n in whose.items()))
    return lines or ["None."]


def _safe(text: str) -> str:
    return re.sub(r"([*_<>\[\]|])", r"\\\1", " ".join(text.split()))[:400]


def refused(cells: list[Cell]) -> str:
    """The list of refusals that the tests hold to."""
    rows: dict[str, list[str]] = {}
    for cell in cells:
        if cell.outcome == "refused":
            rows.setdefault(cell.network, []).append(cell.method)
    lines = [f"    {name!r}: (".replace("'", '"') for name in rows]
    said = "Which methods refuse which network, written by ``python docs/networks_matrix.py``: none is lost unseen."
    made = [f'"""{said}"""', "", "REFUSED: dict[str, tuple[str, ...]] = {"]
    for line, methods in zip(lines, rows.values()):
        made.append(line)
        made += [f'        "{m}",' for m in methods]
        made.append("    ),")
    return "\n".join([*made, "}", ""])


def main() -> None:
    """Read the arguments, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--only")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "networks.md")
    asked = parser.parse_args()
    logging.getLogger("regard").propagate = False
    torch.set_num_threads(1)
    names = asked.only.split(",") if asked.only else list(BY_NAME)
    cells = run(names, asked.keep)
    print(dict(Counter(c.outcome for c in cells)))
    if not asked.only:
        asked.output.write_text(page(cells))
        (ROOT / "tests" / "networks" / "refused.py").write_text(refused(cells))


if __name__ == "__main__":
    main()

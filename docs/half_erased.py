"""How right the wrong effects are that a verdict supported: voxel by voxel, and window by window.

    python docs/half_erased.py FOLDER        # of `python -m regard.evidence.error_rates FOLDER`; a minute or two

Prints a row for each wrong map of separate windows that quick supported with 12 patients: its mean correlation with the
exact map over voxels (about 0), and over the windows that the map speaks of (about their mean).
"""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from regard.evidence.error_rates import HELD_OUT
from regard.evidence.faithfulness.removal import per_part
from regard.evidence.sanity.similarity import correlation
from regard.evidence.trials.maps import EXACT, WRONG
from regard.evidence.trials.situation import Situation

QUANTITY = "effect of separate windows"
N_PATIENTS = 12


def cosine(a: Tensor, b: Tensor) -> float:
    """Correlation about 0."""
    a, b = a.double().flatten(), b.double().flatten()
    return float(a @ b / (a.norm() * b.norm()).clamp(min=1e-300))


def likeness(situation: Situation, way: str) -> tuple[float, float]:
    """Mean over patients of the two correlations."""
    exact, over_voxels, over_windows = EXACT[QUANTITY], [], []
    for n in range(N_PATIENTS):
        case, x = f"{situation.key}-{n:02d}", situation.image(n)
        right = exact.explain(situation, case)(situation.network, x)
        wrong = WRONG[way](situation, exact, n)(situation.network, x)
        parts = exact.removal(situation, x, case)[1]
        assert parts is not None
        over_voxels.append(cosine(right, wrong))
        over_windows.append(correlation(*(per_part(m[0, 0], parts) for m in (right, wrong))))
    return sum(over_voxels) / N_PATIENTS, sum(over_windows) / N_PATIENTS


def main(folder: Path) -> None:
    """Print the rows, and how many are right window by window."""
    torch.set_num_threads(1)
    found = []
    print("| situation | wrong way | over voxels | over windows |\n| --- | --- | --- | --- |")
    for path in sorted(folder.glob(f"*-{QUANTITY.replace(' ', '-')}-*.json")):
        said = json.loads(path.read_text())
        for row in said["found"]:
            if (row["n"], row["mode"], row["verdict"]) != (N_PATIENTS, "quick", "supported") or row["map"] not in WRONG:
                continue
            number = int(said["situation"].rpartition("-")[2])
            voxels, windows = likeness(Situation(number, HELD_OUT, True), row["map"])
            found.append(windows)
            print(f"| {number} | {row['map']} | {voxels:.2f} | {windows:.2f} |")
    print(f"\n{sum(w > 0.9 for w in found)} of {len(found)} above 0.9 over windows")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

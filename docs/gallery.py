"""The gallery: every method on the same three scans, as thumbnails and a page.

python docs/gallery.py                trains the network of ``regard demo`` first (a minute)
python docs/gallery.py DEMO           takes a finished folder of ``regard demo``
python docs/gallery.py DEMO --only grad-ram,lime

Writes ``docs/images/gallery/METHOD.png`` and ``docs/gallery.md``. What a method refuses is written down.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure

import regard
from regard.core.errors import RegardError
from regard.core.explanation import Explanation
from regard.core.volume import Volume
from regard.explainers import METHODS
from regard.explainers.describe import describe
from regard.report.colours import common_scales, is_signed, paint, scale_key
from regard.report.display import display_volume, grey, planes, slice_of, window
from regard.report.figures import turned
from regard.report.outlines import draw_outlines, masks

DOCS = Path(__file__).parent
PICTURES = DOCS / "images" / "gallery"
N_SCANS = 3

HEAD = """# Gallery

Every method on the same three scans: phantoms of `regard demo` and the network that it trains, which measures the
density of the bone that is outlined. All slices of a scan go through the middle of that bone. Orange raised the output
or raises it, blue lowered or lowers it; a map without a sign runs from purple to yellow; the three maps of a method
share a scale. A picture says what a method's maps look like, not whether they are true: for that see
[weighing](weighing.md), the [benchmark](bench.md) and [choosing a method](how-to/choose-a-method.md).

Made by `python docs/gallery.py`.

| method | three scans | what it does |
| --- | --- | --- |
"""


def explained(model: Any, scan: Volume, others: list[Volume], name: str) -> Explanation:
    """A map by a method's own settings; a method of many references is given the other scans."""
    try:
        return regard.explain(model, scan, method=name, target=0)
    except RegardError:
        if "reference" not in str(describe(name)["needs"]):
            raise
        return regard.explain(model, scan, method=name, target=0, reference_cases=others)


def picture(maps: list[Explanation], truths: list[Volume], path: Path) -> None:
    """One row: a slice of each scan through the middle of its bone, with the map over it and the bone outlined."""
    full = common_scales(maps)[scale_key(maps[0])]
    figure = Figure(figsize=(1.5 * len(maps), 1.3))
    for n, (made, truth) in enumerate(zip(maps, truths, strict=True)):
        axis = figure.add_axes((n / len(maps), 0, 1 / len(maps), 1))
        scan = display_volume(made.scan)
        plane = planes(scan)[0]
        regions = masks({"bone": truth}, made)
        index = int(regions["bone"].nonzero()[plane.through].mean().round())
        low, high = window(grey(scan), scan.unit)
        base, values = ((grey(scan) - low) / (high - low), turned(made, made.relevance))
        sides = tuple(float(scan.shape[a] * scan.spacing[a]) for a in (plane.columns, plane.rows))
        drawn = paint(slice_of(base, plane, index), slice_of(values, plane, index), full, signed=is_signed(made))
        axis.imshow(drawn, extent=(0, sides[0], sides[1], 0), interpolation="nearest")
        draw_outlines(axis, regions, plane, index, (sides[0], sides[1]))
        axis.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80, metadata={"Software": None})


def main() -> None:
    """Draw what was asked for and, unless some methods alone were, write the page."""
    parser = argparse.ArgumentParser(description="Draw the gallery.")
    parser.add_argument("demo", nargs="?", type=Path, help="a finished folder of regard demo")
    parser.add_argument("--only", default="", help="methods, by commas; the page is then not written")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = asked.demo
        if folder is None:
            folder = Path(place) / "demo"
            subprocess.run([str(Path(sys.executable).with_name("regard")), "demo", "-o", str(folder)], check=True)
        model = regard.load_model(folder / "models" / "phantom-density")
        files = sorted((folder / "scans").glob("*.nii.gz"))[:N_SCANS]
        scans = [regard.read(f) for f in files]
        truths = [regard.read(folder / "truth" / f.name) for f in files]
        lines, refused = [], []
        for name in asked.only.split(",") if asked.only else METHODS:
            try:
                maps = [explained(model, s, [o for o in scans if o is not s], name) for s in scans]
            except RegardError as error:
                refused.append(f"- `{name}`: {str(error).replace(str(folder), 'the demo')}")
                print(f"{name}: {error}", file=sys.stderr)
                continue
            picture(maps, truths, PICTURES / f"{name}.png")
            print(name, flush=True)
            said = describe(name)["what it does"]
            lines.append(f"| `{name}` ({maps[0].quantity}) | ![{name}](images/gallery/{name}.png) | {said} |")
    if not asked.only:
        tail = "\nNot drawn, as they refuse this network or these scans:\n\n" + "\n".join(refused) if refused else ""
        (DOCS / "gallery.md").write_text(HEAD + "\n".join(lines) + "\n" + tail + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

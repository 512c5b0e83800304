"""Pictures of the page on the radiograph phantom: python docs/phantom_radiograph.py, into docs/images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import pyplot as plt
from torch import Tensor

from regard.phantoms.radiograph import FINDINGS, RadiographPaths, draw_paths, expose

IMAGES = Path(__file__).parent / "images"
Paths = Mapping[str, RadiographPaths]


def sheet(rows: Sequence[Sequence[tuple[str, Tensor, Tensor | None]]], path: Path) -> None:
    """Pictures with titles, and outlines where there are any."""
    columns = len(rows[0])
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(2.6 * columns, 2.8 * len(rows)), squeeze=False, layout="constrained"
    )
    for line, row in zip(axes, rows, strict=True):
        for axis, (title, image, outline) in zip(line, row, strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=1)
            axis.set_title(title, fontsize=9)
            axis.axis("off")
            if outline is not None:
                axis.contour(outline.float(), levels=[0.5], colors="#e69f00", linewidths=0.8)
    figure.savefig(path, dpi=70)


def pairs(chests: Sequence[Paths]) -> None:
    """Radiograph, truth, their difference, and the other view, of each chest."""
    rows = []
    for paths in chests:
        front, back = expose(paths, {"marker": 1.0}), expose(paths, {"view": 1.0})
        bone = (front.image - front.soft)[0]
        rows.append(
            [
                ("PA", front.image[0], None),
                ("PA without bone", front.soft[0], None),
                ("difference, times 3", 3 * bone, None),
                ("AP", back.image[0], None),
            ]
        )
    sheet(rows, IMAGES / "radiograph-pairs.png")


def findings(paths: Paths) -> None:
    """Each finding at full dose in one chest, with and without bone."""
    above, below = [], []
    for kind in FINDINGS:
        taken = expose(paths, {kind: 1.0})
        outline = None if kind == "miliary" else taken.mask
        above.append((f"{kind}, {100 * taken.paths.findings[kind].hidden:.0f} % behind bone", taken.image[0], None))
        below.append(("without bone", taken.soft[0], outline))
    sheet([above, below], IMAGES / "radiograph-findings.png")


def main() -> None:
    """Draw both."""
    chests = [draw_paths(0, case) for case in (3, 5, 8)]
    pairs(chests)
    findings(chests[0])


if __name__ == "__main__":
    main()

"""A folder of radiographs in JSRT's layout with bone-free twins, made of simple shapes, with a defect of each kind."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 192

DEFECTS = {
    "JPCLN101": "no twin",
    "JPCLN102": "the same size",
    "JPCLN103": "opposite grey values",
    "JPCNN001": "again, as patient",
    "JPCLN105": "lungs brighter than the spine",
    "JPCLN106": "is not a readable picture",
    "JPCLN107": "one grey level",
}
"""Case to what its row of failures.tsv must say."""


def chest(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A radiograph and its twin, 8 bit (row, column): two dark lungs, a bright middle, ribs in the first alone."""
    rng = np.random.default_rng(number)
    row, column = np.indices((SIZE, SIZE)) / SIZE
    wide = 0.15 + 0.02 * rng.random()
    soft = np.full((SIZE, SIZE), 150.0)
    for middle in (0.28, 0.72):
        soft[((column - middle) / wide) ** 2 + ((row - 0.5) / 0.35) ** 2 < 1] = 60 + 5 * rng.random()
    soft += rng.normal(0, 2, soft.shape)
    ribs = 28 * (np.sin(40 * row + 6 * np.abs(column - 0.5) + rng.random()) > 0.5) * (np.abs(column - 0.5) > 0.08)
    return np.clip(soft + ribs, 0, 255).astype(np.uint8), np.clip(soft, 0, 255).astype(np.uint8)


def tree(folder: Path, n_good: int = 12) -> Path:
    """Write ``n_good`` good pairs and one bad one of each kind."""
    plain, twins = folder / "JSRT", folder / "BSE_JSRT"
    plain.mkdir(parents=True)
    twins.mkdir()

    def write(case: str, image: np.ndarray, twin: np.ndarray | None) -> None:
        Image.fromarray(image).save(plain / f"{case}.png")
        if twin is not None:
            Image.fromarray(twin).save(twins / f"{case}.png")

    for number in range(1, n_good + 1):
        write(f"JPCNN{number:03d}", *chest(number))
    image, twin = chest(500)
    write("JPCLN101", image, None)
    write("JPCLN102", image, twin[:-8])
    write("JPCLN103", image, 255 - twin)
    # The same patient under two names would be learnt from and measured on.
    write("JPCLN104", *chest(1))
    image, twin = chest(505)
    write("JPCLN105", 255 - image, 255 - twin)
    write("JPCLN106", *chest(506))
    (plain / "JPCLN106.png").write_bytes(b"\x89PNG broken")
    write("JPCLN107", np.full_like(image, 90), np.full_like(image, 80))
    return folder

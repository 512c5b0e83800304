"""Trees of radiographs as users have them, made of simple shapes, with one defect of each kind."""

from pathlib import Path

import numpy as np
from PIL import Image

DEFECTS = {
    "CHNCXR_0901_0": "no twin of",
    "CHNCXR_0902_1": "the same size",
    "CHNCXR_0903_0": "the other way than most",
    "CHNCXR_0904_1": "again, as patient",
    "CHNCXR_0905_0": "is not a readable picture",
    "CHNCXR_0906_1": "not a thumbnail",
    "CHNCXR_0001_1": "both with and without",
}
"""Case to what its row of failures.tsv must say."""


def chest(number: int, *, ill: bool, bones: bool = True, shape: tuple[int, int] = (112, 96)) -> np.ndarray:
    """A chest with lungs, ribs and, where ill, a bright patch in one apex, (row, column) in 0 to 255."""
    rng = np.random.default_rng(number)
    row, column = (np.linspace(-1, 1, n)[:, None] if k == 0 else np.linspace(-1, 1, n)[None] for k, n in
                   enumerate(shape))  # fmt: skip
    grey = np.full(shape, 150.0) - 60 * column**2
    width = 0.30 + 0.03 * rng.random()
    for side in (-1, 1):
        lung = ((column - side * 0.45) / width) ** 2 + ((row - 0.05) / 0.72) ** 2 < 1
        grey[lung] = 60
        if ill and side == (1 if number % 2 else -1):
            away = ((column - side * 0.45) / 0.16) ** 2 + ((row + 0.35) / 0.16) ** 2
            grey += 70 * np.exp(-away) * lung
    if bones:
        grey += 35 * (np.abs(column) < 0.09)
        grey += 14 * (np.sin(row * 22 + 6 * column**2) > 0.6) * (np.abs(column) < 0.85)
    grey[:6, :6] = 0
    return (grey + np.random.default_rng(number + 10_000).normal(0, 4, shape)).clip(0, 255)


def save(path: Path, grey: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey.astype(np.uint8)).save(path)


def shenzhen(folder: Path, *, n_good: int = 16, defects: bool = True, twins: bool = True) -> Path:
    """Write the tree: ``CXR_png`` with its twins in ``bone_suppressed`` and clinical readings."""

    def pair(case: str, number: int, *, ill: bool) -> None:
        save(folder / "CXR_png" / f"{case}.png", chest(number, ill=ill))
        if twins:
            save(folder / "bone_suppressed" / f"{case}.png", chest(number, ill=ill, bones=False))

    for n in range(1, n_good + 1):
        pair(f"CHNCXR_{n:04}_{n % 2}", n, ill=bool(n % 2))
    (folder / "ClinicalReadings").mkdir(parents=True, exist_ok=True)
    (folder / "ClinicalReadings" / "CHNCXR_0002_0.txt").write_text("male 31yrs\nnormal\n")
    if defects:
        for case in (*(c for c in DEFECTS if c != "CHNCXR_0001_1"), "CHNCXR_0001_0"):
            number = int(case[7:11])
            pair(case, number, ill=case.endswith("1"))
        (folder / "bone_suppressed" / "CHNCXR_0901_0.png").unlink()
        save(folder / "bone_suppressed" / "CHNCXR_0902_1.png", chest(902, ill=True, bones=False, shape=(90, 90)))
        for kind in ("CXR_png", "bone_suppressed"):
            inverted = 255 - np.asarray(Image.open(folder / kind / "CHNCXR_0903_0.png")).astype(float)
            save(folder / kind / "CHNCXR_0903_0.png", inverted)
            twice = (folder / kind / "CHNCXR_0003_1.png").read_bytes()
            (folder / kind / "CHNCXR_0904_1.png").write_bytes(twice)
            save(folder / kind / "CHNCXR_0906_1.png", chest(906, ill=True, shape=(40, 40)))
        (folder / "CXR_png" / "CHNCXR_0905_0.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return folder


def mura(folder: Path, n: int = 12) -> Path:
    """Write a tree in MURA's layout: wrists and elbows, several images of a study, and a dotted file."""
    for k in range(n):
        study = f"XR_{('WRIST', 'ELBOW')[k % 2]}/patient{k // 2:05}/study1_{('positive', 'negative')[k % 3 == 0]}"
        for image in (1, 2):
            save(folder / "MURA-v1.1" / "valid" / study / f"image{image}.png", chest(k * 2 + image, ill=bool(k % 3)))
    (folder / "MURA-v1.1" / "valid" / "XR_WRIST" / "patient00000" / "study1_negative" / "._image1.png").write_bytes(
        b"x"
    )
    return folder

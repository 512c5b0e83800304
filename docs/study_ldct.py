"""What the page of the low-dose CT study shows beside its report, from a finished run.

python docs/study_ldct.py --run RUN [--size reference]     mean error of each denoiser by tissue, as Markdown; pictures

95 % intervals over patients. The pictures of the run go into docs/images.
"""

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from regard.io import RunFolder
from regard.studies.ldct.config import NETWORKS, SIZES
from regard.studies.ldct.material import material_of
from regard.studies.run import StudyRun
from regard.studies.scoring.bootstrap import mean_score

IMAGES = Path(__file__).parent / "images"
TISSUES = {"air": (-2000.0, -800.0), "lung": (-800.0, -200.0), "fat": (-200.0, -30.0), "soft tissue": (-30.0, 100.0),
           "bone": (100.0, 5000.0)}  # fmt: skip
"""HU of the full-dose scan."""
PICTURES = {"denoised": "denoised", "gallery_redcnn_0": "gallery", "null_space_redcnn": "null-space"}


def table(run: Path, size: str) -> None:
    """Print the mean error of each denoiser in each tissue [HU]."""
    config = SIZES[size]
    with tempfile.TemporaryDirectory() as scratch, RunFolder(Path(scratch) / "run", "study", {}) as folder:
        material = material_of(StudyRun(config, folder, source=run), config)  # type: ignore[arg-type]
        test = material.test
        print("| mean error [HU] | " + " | ".join(TISSUES) + " |\n" + "| --- " * (1 + len(TISSUES)) + "|")
        for name in config.train.networks:  # type: ignore[attr-defined]
            cells = []
            for low, high in TISSUES.values():
                rows = []
                for n in range(len(test)):
                    inside = (test.full[n] >= low) & (test.full[n] < high)
                    error = (material.kept_image(name, n) - test.full[n])[inside]
                    rows.append(float(error.mean()))
                score = mean_score(rows, test.patients, "HU")
                cells.append(f"{score.value:.1f} ({score.low:.1f} to {score.high:.1f})")
            print(f"| {NETWORKS[name]} | " + " | ".join(cells) + " |", flush=True)


def pictures(run: Path) -> None:
    """Bring the run's pictures that the page shows into docs/images, smaller."""
    for source, name in PICTURES.items():
        path = run / "figures" / f"{source}.png"
        if path.exists():
            with Image.open(path) as image:
                image.convert("RGB").quantize(160).save(IMAGES / f"ldct-{name}.png", optimize=True)


def main() -> None:
    """Read the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--size", default="reference")
    options = parser.parse_args()
    table(options.run, options.size)
    pictures(options.run)


if __name__ == "__main__":
    main()

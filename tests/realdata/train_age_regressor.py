"""Train a small age regressor on chest radiographs, split by patient, and write what `regard cohort` takes.

    python tests/realdata/train_age_regressor.py DATA OUT

``DATA`` holds ``images/*.png`` and ``labels.csv`` (file, patient_id, age_years, sex, view), as the table of NIH
ChestX-ray14 (Wang et al., CVPR 2017) can be brought to. ``OUT`` receives the model's folder, ``held-out.tsv`` with the
patients it never saw, ``thirds.nii.gz`` with its table, nine regions on the grid of the first picture, and
``scores.json``: its error beside that of the training patients' mean age, with intervals over patients.

    regard cohort OUT/model OUT/held-out.tsv -m occlusion:window=8,stride=4 --template DATA/images/FIRST.png \\
           --atlas OUT/thirds.nii.gz --atlas-table OUT/thirds.tsv --covariate label --covariate view -o OUT/cohort
"""

import argparse
import csv
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from regard.evidence.statistics import clustered_interval
from regard.io import read
from regard.io.atomic import write_json, write_tsv
from regard.io.maps import save_volume
from regard.models import write_card
from regard.models.card import ModelCard
from regard.models.model import Model
from regard.models.preparation import Preparation
from regard.models.zoo.small import SmallRegressor
from regard.training.measure import fit, fold_scale

SIZE = 64
WIDTHS = (12, 24, 48, 64)
COPIES = 4


def card(ages: np.ndarray) -> ModelCard:
    """What the network eats, and what its output means."""
    return ModelCard.model_validate(
        {
            "name": "cxr-age",
            "licence": "Apache-2.0",
            "zoo": "small-regressor",
            "kwargs": {"spatial_dims": 2, "widths": list(WIDTHS), "head": "flatten", "cells": 4},
            "weights": "weights.safetensors",
            "layer": "features.block3",
            "inputs": [
                {
                    "name": "image", "channels": 1, "orientation": "PL", "shape": [SIZE, SIZE], "fit": "resize",
                    "unit": "grey level", "normalise": "zscore",
                }
            ],
            "output": {"kind": "regression", "names": ["age"], "units": ["years"], "activation": "none"},
            "trained_on": {
                "n": len(ages),
                "ranges": {"output": [float(ages.min()), float(ages.max())]},
                "site": "NIH ChestX-ray14, a few patients; a demonstration, good for nothing else",
            },
        }
    )  # fmt: skip


def moved(images: Tensor, seed: int) -> Tensor:
    """Copies of images (case, 1, row, column), each shifted, turned and scaled a little."""
    drawn = torch.Generator().manual_seed(seed)
    n = len(images)
    angle = (torch.rand(n, generator=drawn) - 0.5) * 0.2
    scale = 1 + (torch.rand(n, generator=drawn) - 0.5) * 0.2
    shift = (torch.rand(n, 2, generator=drawn) - 0.5) * 0.15
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).reshape(n, 2, 2) * scale[:, None, None]
    grid = functional.affine_grid(torch.cat([turn, shift[..., None]], 2), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False, padding_mode="border")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with (options.data / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    patients = sorted({r["patient_id"] for r in rows})
    np.random.default_rng(options.seed).shuffle(patients)
    held_out = set(patients[: round(0.4 * len(patients))])
    ages = np.array([float(r["age_years"]) for r in rows])
    learn = np.array([r["patient_id"] not in held_out for r in rows])
    described = card(ages[learn])
    prepare = Preparation(described.inputs[0])
    images = torch.cat([prepare.prepare(read(options.data / "images" / r["file"])).tensor for r in rows])
    mean, deviation = float(ages[learn].mean()), float(ages[learn].std())
    known = images[learn]
    copies = torch.cat([known, *[moved(known, options.seed + k) for k in range(1, COPIES)]])
    labels = torch.tensor((ages[learn] - mean) / deviation, dtype=torch.float32).repeat(COPIES)
    torch.manual_seed(options.seed)
    network = SmallRegressor(**described.kwargs)
    fit(network, copies, labels, n_epochs=options.epochs, seed=options.seed, learning_rate=1e-3)
    fold_scale(network.head, mean, deviation)
    model = Model(network.eval(), described)
    with torch.no_grad():
        predicted = torch.cat([model(x[None])[:, 0] for x in images]).numpy()
    folder = options.out / "model"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / "weights.safetensors")
    write_card(described, folder / "card.yaml")
    write_scores(options.out / "scores.json", rows, ages, predicted, learn, mean)
    write_thirds(options.data / "images" / rows[0]["file"], options.out)
    others = [r for r, seen in zip(rows, learn, strict=True) if not seen]
    path = os.path.relpath(options.data / "images", options.out)
    write_tsv(
        options.out / "held-out.tsv",
        ("case", "image", "patient", "label", "sex", "view"),
        [(Path(r["file"]).stem, f"{path}/{r['file']}", r["patient_id"], r["age_years"], r["sex"], r["view"])
         for r in others],
    )  # fmt: skip


def write_thirds(picture: Path, out: Path) -> None:
    """Nine regions of equal size on the grid of a picture, and their names."""
    volume = read(picture)
    columns, rows = (torch.arange(n) * 3 // n for n in volume.shape[:2])
    labels = 1 + 3 * rows[None] + columns[:, None]
    save_volume(volume.with_tensor(labels[None, :, :, None].float(), unit="label"), out / "thirds.nii.gz", "regions")
    names = [f"{down} {across}" for down in ("upper", "middle", "lower") for across in ("left", "centre", "right")]
    write_tsv(
        out / "thirds.tsv", ("index", "name"), [(k + 1, f"{name} of the picture") for k, name in enumerate(names)]
    )


def write_scores(
    path: Path, rows: list[dict[str, str]], ages: np.ndarray, predicted: np.ndarray, learn: np.ndarray, mean: float
) -> None:
    """Errors on both parts, beside the mean age and beside a straight line through the view (AP or PA)."""
    ap = np.array([r["view"] == "AP" for r in rows], dtype=float)
    by_view = np.polyval(np.polyfit(ap[learn], ages[learn], 1), ap)
    said = {}
    for part, chosen in {"training": learn, "held out": ~learn}.items():
        who = [r["patient_id"] for r, c in zip(rows, chosen, strict=True) if c]
        said[part] = {"n": int(chosen.sum()), "n_patients": len(set(who))}
        for name, guess in {"network": predicted, "mean age": np.full(len(ages), mean), "view alone": by_view}.items():
            found = clustered_interval(list(np.abs(guess - ages)[chosen]), who)
            said[part][name] = {"mae": found.value, "low": found.low, "high": found.high}
        gain = np.abs(mean - ages) - np.abs(predicted - ages)
        found = clustered_interval(list(gain[chosen]), who)
        said[part]["mean age minus network"] = {"mae": found.value, "low": found.low, "high": found.high}
        said[part]["pearson_r"] = float(np.corrcoef(predicted[chosen], ages[chosen])[0, 1])
    write_json(path, "age", said)


if __name__ == "__main__":
    main()

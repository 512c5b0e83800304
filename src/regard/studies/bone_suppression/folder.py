"""A user's pairs, in the layout of JSRT and its twins: bad cases are rows of ``failures.tsv``."""

from functools import partial

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import CardError, FileError
from regard.datasets.collection import Radiograph
from regard.datasets.radiograph_images import grey_of, saturated_pair, square
from regard.datasets.radiographs import read_jsrt
from regard.studies.bone_suppression.config import BoneSuppressionConfig
from regard.studies.bone_suppression.pairs import Pairs
from regard.studies.run import StudyRun
from regard.studies.user_data import kept_data, readable

__all__ = ["folder_pairs"]

_FEWEST = 6
_SHARES = {"train": 0.7, "validation": 0.1}


def _read(case: Radiograph, config: BoneSuppressionConfig) -> tuple[Tensor, Tensor]:
    assert case.twin is not None
    image, twin = (square(grey_of(path), config.data.size) for path in (case.image, case.twin))
    likeness = float(torch.corrcoef(torch.stack((image.flatten(), twin.flatten())))[0, 1])
    if likeness < 0:
        raise FileError(
            f"'{case.case}' and its twin with opposite grey values (correlation {likeness:.2f})",
            "bone white in the radiograph and lungs dark in both",
            "invert one of the two",
        )
    # Lungs are darker than what lies between and below them.
    middle = image[..., config.data.size // 8 : -config.data.size // 8, :]
    columns = middle.mean((0, 1, 2))
    n = len(columns)
    lungs = (columns[n // 5 : 2 * n // 5].mean() + columns[3 * n // 5 : 4 * n // 5].mean()) / 2
    if float(lungs) > float(columns[9 * n // 20 : 11 * n // 20].mean()):
        raise FileError(
            f"'{case.case}' with lungs brighter than the spine", "bone white and lungs dark", "invert both images"
        )
    return image, twin


def _pairs(run: StudyRun, config: BoneSuppressionConfig) -> tuple[dict[str, Tensor], list[dict[str, str]]]:
    assert run.data is not None
    collection = read_jsrt(run.data)
    for name, error in collection.failures.items():
        run.folder.add_failure(name, "read", error)
    images, twins = [], []
    rows: list[dict[str, str]] = []
    read = partial(_read, config=config)
    for case, (image, twin) in readable(run, collection.cases, read, image=lambda made: made[0]):
        prepared = saturated_pair(image, twin, share=config.data.saturated)
        images.append(prepared[0])
        twins.append(prepared[1])
        rows.append({"case": case.case, "patient": case.patient})
    if len({r["patient"] for r in rows}) < _FEWEST:
        raise CardError(
            f"{len(rows)} pairs that can be used in '{run.data}'", f"at least {_FEWEST}", "see failures.tsv"
        )
    return {"images": torch.cat(images), "soft": torch.cat(twins)}, rows


def _parts(patients: list[str], seed: int) -> dict[str, list[str]]:
    names = sorted(set(patients))
    order = torch.randperm(len(names), generator=randomness.generator(seed, "folder", "split")).tolist()
    n_train, n_validation = (max(1, round(_SHARES[p] * len(names))) for p in ("train", "validation"))
    mixed = [names[n] for n in order]
    return {
        "train": mixed[:n_train],
        "validation": mixed[n_train : n_train + n_validation],
        "test": mixed[n_train + n_validation :],
    }


def folder_pairs(run: StudyRun, config: BoneSuppressionConfig) -> tuple[Pairs, Pairs, Pairs]:
    """Pairs to train on, to choose on and to test on from a folder of radiographs and twins, split by patient.

    Raises
    ------
    CardError
        If too few pairs can be used.
    """
    tensors, rows = kept_data(run, "data/folder", lambda: _pairs(run, config))
    n, size = len(rows), config.data.size
    unknown, nowhere = torch.full((n, 1, size, size), torch.nan), torch.zeros(n, size, size, dtype=torch.bool)
    whole = Pairs(
        **tensors,
        plain=unknown,
        plain_soft=unknown,
        finding=nowhere,
        bone=nowhere,
        lung=nowhere,
        cases=tuple(r["case"] for r in rows),
        patients=tuple(r["patient"] for r in rows),
        kinds=("",) * n,
        real=True,
    )
    parts = _parts([r["patient"] for r in rows], run.seed)
    found = []
    for names in parts.values():
        found.append(whole.of([k for k, p in enumerate(whole.patients) if p in set(names)]))
    return found[0], found[1], found[2]

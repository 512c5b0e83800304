"""Targets and references as they are written on the command line, in run files and in tables."""

import os
import re
from pathlib import Path

from regard.core.errors import InputError, TargetError
from regard.core.image_target import Contrast, ErrorTo, Mean, Voxel
from regard.core.target import AbstractTarget, Expectation, Logit, Output, Probability
from regard.core.volume import Volume
from regard.io import read
from regard.models.card import ModelCard

__all__ = ["GRAMMAR", "absolute_target", "read_region", "read_target"]

GRAMMAR = (
    "output[:I|NAME], logit:K, probability:K, expectation, voxel:I,J,K, voxel-mm:X,Y,Z, mean:FILE[#LABEL], "
    "contrast:FILE#A,FILE#B or error:FILE"
)


def read_target(text: str | None, card: ModelCard) -> AbstractTarget | None:
    """Read a target, with the names, bins and activation of a model's card.

    Parameters
    ----------
    text
        As `GRAMMAR` says, split at the first colon. Outputs and classes can be given by number or by name. A channel
        of an image output follows as ``@CHANNEL`` (number or name), as in ``mean:liver.nii.gz@3``.
    card
        The model's card.

    Raises
    ------
    TargetError
        If the text is not of the grammar, or names no output of the model.
    FileError
        If a region's file cannot be read.
    """
    if text is None:
        return None
    kind, colon, rest = text.partition(":")
    if kind == "expectation" and not colon:
        if card.output.bins is None:
            raise TargetError("expectation, and a card without bins", "bin centres in the card", "choose output:I")
        return Expectation(tuple(card.output.bins))
    if kind == "output" and not colon:
        return Output(0)
    if kind in ("output", "logit", "probability") and rest:
        index = _index(rest, card, text)
        return {"output": Output, "logit": Logit, "probability": Probability}[kind](index)
    body, at, channel = rest.rpartition("@")
    place, number = (body, _index(channel, card, text)) if at and body else (rest, 0)
    if kind == "voxel" and place:
        return Voxel(tuple(int(v) for v in _numbers(place, text)), channel=number)
    if kind == "voxel-mm" and place:
        return Voxel(mm=tuple(_numbers(place, text)), channel=number)
    if kind == "mean" and place:
        return _mean(place, number)
    if kind == "contrast" and place:
        parts = place.split(",")
        if len(parts) != 2:
            raise TargetError(f"the target '{text}'", "contrast:FILE#A,FILE#B", "give two regions")
        return Contrast(_mean(parts[0], number), _mean(parts[1], number))
    if kind == "error" and place:
        return ErrorTo(read(place), channel=number, name=Path(place).name)
    raise TargetError(f"the target '{text}'", GRAMMAR, "choose one of these")


def absolute_target(text: str | None) -> str | None:
    """The same target with the paths of its files absolute, so that it can be read from any folder."""
    kind, colon, rest = (text or "").partition(":")
    if not colon or kind not in ("mean", "contrast", "error"):
        return text
    body, at, channel = rest.rpartition("@")
    places = body if at and body else rest
    # Only a contrast has two files; the name of another one may hold a comma.
    parts = places.split(",") if kind == "contrast" else [places]
    files = [f"{os.path.abspath(file)}{mark}{label}" for file, mark, label in (p.partition("#") for p in parts)]
    return f"{kind}:{','.join(files)}" + (f"@{channel}" if at and body else "")


def _index(text: str, card: ModelCard, whole: str) -> int:
    if re.fullmatch(r"-?[0-9]+", text):
        return int(text)
    if text in card.output.names:
        return card.output.names.index(text)
    raise TargetError(f"'{text}' in the target '{whole}'", f"a number or one of {', '.join(card.output.names)}")


def _numbers(text: str, whole: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3):
        raise TargetError(f"the place '{text}' in the target '{whole}'", "three numbers with commas, such as 12,40,7")
    return numbers + [0.0] * (3 - len(numbers))


def _mean(place: str, channel: int) -> Mean:
    return Mean(read_region(place), channel=channel, name=Path(place).name)


def read_region(text: str) -> Volume:
    """Read a region ``FILE`` (its voxels above 0) or ``FILE#LABEL`` (its voxels of that label).

    Raises
    ------
    InputError
        If the label is no whole number, or no voxel has it.
    """
    path, _, label = text.partition("#")
    volume = read(path)
    if label and not re.fullmatch(r"-?[0-9]+", label):
        raise InputError(f"the label '{label}' of {path}", "a whole number")
    mask = (volume.tensor[:1] == int(label)) if label else (volume.tensor[:1] > 0)
    if not bool(mask.any()):
        present = volume.tensor.unique()[:12].tolist()
        raise InputError(
            f"the region {text}, in which no voxel lies", f"a label among {present}", "choose another label"
        )
    return volume.with_tensor(mask.float(), unit="label")

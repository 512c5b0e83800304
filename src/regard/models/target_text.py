"""Targets and references as they are written on the command line, in run files and in tables."""

import os
import re
from pathlib import Path

from regard.core.errors import TargetError
from regard.core.image_target import Contrast, ErrorTo, Mean, Voxel
from regard.core.target import AbstractTarget, Expectation, Logit, Output, Probability
from regard.io import read
from regard.io.regions import read_region, split_region
from regard.models.card import ModelCard

__all__ = ["GRAMMAR", "absolute_target", "read_region", "read_target"]

_FARTHEST = 1e9

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
    places, channel = _split(kind, rest)
    place, number = places[0], _index(channel, card, text) if channel else 0
    if kind == "voxel" and place:
        voxel = _numbers(place, text)
        if any(v != int(v) for v in voxel):
            raise TargetError(f"the target '{text}'", "whole numbers of voxels", "give a place in mm as voxel-mm:X,Y,Z")
        return Voxel(tuple(int(v) for v in voxel), channel=number)
    if kind == "voxel-mm" and place:
        return Voxel(mm=tuple(_numbers(place, text)), channel=number)
    if kind == "mean" and place:
        return _mean(place, number)
    if kind == "contrast" and place:
        if len(places) != 2:
            raise TargetError(f"the target '{text}'", "contrast:FILE#A,FILE#B", "give two regions")
        return Contrast(_mean(places[0], number), _mean(places[1], number))
    if kind == "error" and place:
        return ErrorTo(read(place), channel=number, name=Path(place).name)
    raise TargetError(f"the target '{text}'", GRAMMAR, "choose one of these")


def absolute_target(text: str | None) -> str | None:
    """The same target with the paths of its files absolute, so that it can be read from any folder."""
    kind, colon, rest = (text or "").partition(":")
    if not colon or kind not in ("mean", "contrast", "error"):
        return text
    places, channel = _split(kind, rest)
    parts = [split_region(p) for p in places]
    files = [os.path.abspath(p.path) + (f"#{p.label}" if p.label else "") for p in parts]
    return f"{kind}:{','.join(files)}" + (f"@{channel}" if channel else "")


def _split(kind: str, rest: str) -> tuple[list[str], str]:
    """The regions (or the place) of a target, and its channel, empty where none is given.

    A folder or a file may hold the characters that divide a target: where a way to divide it names files that exist,
    it is meant.
    """
    body, at, channel = rest.rpartition("@")
    ways = ([(body, channel)] if at and body else []) + [(rest, "")]
    for text, number in ways:
        places = _places(kind, text)
        if all(split_region(p).exists for p in places):
            return places, number
    text, number = ways[-1] if "/" in channel else ways[0]
    return _places(kind, text), number


def _places(kind: str, text: str) -> list[str]:
    """Only a contrast has two regions; the name of another one may hold a comma."""
    if kind != "contrast":
        return [text]
    parts = text.split(",")
    halves = [(",".join(parts[:n]), ",".join(parts[n:])) for n in range(1, len(parts))]
    return next((list(h) for h in halves if all(split_region(p).exists for p in h)), parts)


def _index(text: str, card: ModelCard, whole: str) -> int:
    if re.fullmatch(r"-?[0-9]{1,9}", text):
        return int(text)
    if text in card.output.names:
        return card.output.names.index(text)
    raise TargetError(f"'{text}' in the target '{whole}'", f"a number or one of {', '.join(card.output.names)}")


def _numbers(text: str, whole: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    near = all(abs(n) < _FARTHEST for n in numbers)  # neither infinite nor NaN
    if len(numbers) not in (2, 3) or not near:
        raise TargetError(f"the place '{text}' in the target '{whole}'", "three numbers with commas, such as 12,40,7")
    return numbers + [0.0] * (3 - len(numbers))


def _mean(place: str, channel: int) -> Mean:
    return Mean(read_region(place), channel=channel, name=Path(place).name)

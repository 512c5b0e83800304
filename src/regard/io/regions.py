"""Regions of an image: a mask, one label of a label image, whatever layer it lies on, or one segment by its name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.core.volume import Volume
from regard.io.dicom_regions import dicom_region, region_kind
from regard.io.guard import exists
from regard.io.intervals import interval_region, is_interval_table
from regard.io.nrrd import Segment, read_segments
from regard.io.reading import kind_of, read

__all__ = ["RegionText", "read_region", "split_region", "whole_labels"]

_ROUNDING = 1e-3


class RegionText(NamedTuple):
    """``FILE`` or ``FILE#LABEL`` in its two parts."""

    path: str
    label: str

    @property
    def exists(self) -> bool:
        """Whether there is such a file or folder."""
        return exists(self.path)


def split_region(text: str) -> RegionText:
    """Split ``FILE#LABEL`` at its last ``#``; a file whose own name or folder holds one is kept whole."""
    path, mark, label = text.rpartition("#")
    if not mark or exists(text) or ("/" in label and not exists(path)):
        return RegionText(text, "")
    return RegionText(path, label)


def whole_labels(values: Tensor) -> Tensor:
    """Labels that a float file has kept as 0.999996 brought back to whole numbers; all else as it is."""
    near = values.round()
    return torch.where((values - near).abs() < _ROUNDING, near, values)


def read_region(text: str) -> Volume:
    """Read a region ``FILE`` (its voxels above 0) or ``FILE#LABEL`` (its voxels of that label).

    A label image of several layers is read through: a label counts on whichever layer it lies. The segments of a
    ``.seg.nrrd`` go by their label value, or by name where two layers use one value; those of a DICOM SEG or RTSTRUCT
    by name or number. Of a signal a region is a table of intervals (`regard.io.intervals`), by their labels.

    Returns
    -------
    Volume
        One channel of 1 and 0, unit ``"label"``.

    Raises
    ------
    InputError
        If the label is no whole number and no segment's name, stands for several segments, or no voxel has it.
    """
    path, label = split_region(text)
    if is_interval_table(Path(path)):
        return interval_region(Path(path), label)
    if region_kind(Path(path)) is not None:
        return dicom_region(Path(path), label)
    segments = read_segments(Path(path)) if exists(path) and Path(path).is_file() and kind_of(path) == "nrrd" else {}
    volume = read(path)
    values = whole_labels(volume.tensor)
    inside = _of_segment(values, segments, label, text) if segments and label else _of_label(values, label, path)
    if not bool(inside.any()):
        present = [f"{v:g}" for v in values.unique()[:12].tolist()] + list(segments)
        raise InputError(f"the region {text}, in which no voxel lies", f"a label among {', '.join(present)}",
                         "choose another label")  # fmt: skip
    return volume.with_tensor(inside[None].float(), unit="label")


def _of_label(values: Tensor, label: str, path: str) -> Tensor:
    if label and not re.fullmatch(r"-?[0-9]+", label):
        raise InputError(f"the label '{label}' of {path}", "a whole number", "choose one that the image holds")
    return ((values == int(label)) if label else (values > 0)).any(0)


def _of_segment(values: Tensor, segments: Mapping[str, Segment], label: str, text: str) -> Tensor:
    named = {name: s for name, s in segments.items() if label in (name, s.identifier)}
    alike = named or {name: s for name, s in segments.items() if label == str(s.value)}
    if len(alike) != 1:
        known = ", ".join(f"{name} (label {s.value}, layer {s.layer})" for name, s in segments.items())
        got = f"the region {text}, which {'stands for several segments' if alike else 'is no segment of the file'}"
        raise InputError(got, f"one of: {known}", "give the segment's name after the #")
    segment = next(iter(alike.values()))
    if not 0 <= segment.layer < len(values):
        raise InputError(f"the segment {label} on layer {segment.layer}", f"0 to {len(values) - 1}", "export it again")
    return values[segment.layer] == segment.value

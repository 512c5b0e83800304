"""Names of output files: case ids, method labels and input names that are safe on every file system and in a page."""

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import quote

from regard.core.errors import CardError

__all__ = [
    "MAP_ENDINGS",
    "check_labels",
    "letters_and_digits",
    "map_stem",
    "on_network",
    "safe_name",
    "without_map_ending",
]

MAP_ENDINGS = (".nii.gz", ".nii", ".tsv")
"""Endings of the file of a map."""

_LONGEST = 120


def safe_name(text: str) -> str:
    """A case id as part of a file name: letters, digits, ``-``, ``_``, ``.`` and percent-encoded everything else.

    No separator, no leading dot, no ``..`` and no markup is left, and different ids give different names. A very long
    name is cut and ends in a digest of the whole.

    Raises
    ------
    CardError
        If it is empty.
    """
    if not text.strip():
        raise CardError("an empty case id", "a name", "name the case in the table")
    name = quote(text, safe="", errors="surrogateescape").replace("~", "%7E").replace("..", "%2E%2E")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _LONGEST:
        digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]
        name = f"{name[: _LONGEST - 13]}-{digest}"
    return name


def letters_and_digits(label: str) -> str:
    """A label without anything but letters and digits: ``grad-ram`` is ``gradram``, ``grad-cam++`` ``gradcamplusplus``.

    Raises
    ------
    CardError
        If nothing is left.
    """
    kept = re.sub(r"[^A-Za-z0-9]", "", label.replace("+", "plus"))
    if not kept:
        raise CardError(f"the label '{label}'", "at least one letter or digit", "choose another label after @")
    return kept


def check_labels(labels: Iterable[str]) -> None:
    """Refuse labels that would give one file name.

    Raises
    ------
    CardError
        If two are equal once everything but letters and digits is gone.
    """
    seen: dict[str, str] = {}
    for label in labels:
        short = letters_and_digits(label)
        if short in seen:
            raise CardError(
                f"the labels '{seen[short]}' and '{label}', which both become desc-{short} in file names",
                "labels that differ in their letters and digits",
                "give one another name with METHOD@LABEL",
            )
        seen[short] = label


def map_stem(case: str, label: str, input: str | None = None) -> str:
    """Start of the name of a map's files: ``<case>[_input-<name>]_desc-<label>_relevance``."""
    middle = "" if input is None else f"_input-{safe_name(input)}"
    return f"{safe_name(case)}{middle}_desc-{letters_and_digits(label)}_relevance"


def on_network(stem: str) -> str:
    """The same map's on the network's grid: ``<case>[_input-<name>]_space-network_desc-<label>_relevance``.

    A map under a name of the user's own gets ``_space-network`` before its end.
    """
    start, mark, end = stem.rpartition("_desc-")
    return f"{start}_space-network_desc-{end}" if mark else f"{stem}_space-network"


def without_map_ending(name: str) -> str:
    """The name of a map's file, of an image or a signal, without its ending."""
    ending = next((e for e in MAP_ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]

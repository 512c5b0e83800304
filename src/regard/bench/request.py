"""What ``regard bench`` is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from regard.runs.requests.fields import Flag
from regard.runs.requests.shared import IntoFolder, OnDevice, Seeded

__all__ = ["BenchRequest"]


@dataclass(frozen=True, kw_only=True)
class BenchRequest(Seeded, OnDevice, IntoFolder):
    """Compare methods on images whose truth is known.

    These are phantoms, or your own scans with planted signals. Trains small networks on each, for numbers, classes and
    images, asks them what their output depends on by rendering patients again, and measures which method's map shows
    it, beside controls. A run that was cut off goes on where it stopped. With --images the ranking is for these scans
    and this network.

    Example: regard bench -m grad-ram,integrated-gradients,occlusion:window=6,stride=2 --size smoke -o bench/

    Parameters
    ----------
    methods
        Methods; repeatable.
    measures
        Measures; repeatable.
    phantoms
        Phantoms, or tasks with --images; repeatable.
    images
        Your own scans: signals are planted into them, and networks trained on these.
    network
        With --images: a model whose architecture is trained, its preparation used; by default a small one.
    contrast
        With --images: the strongest signal [standard deviations of fine texture]; by default 3.
    trust
        Let code that comes with the model run, this time only.
    size
        How much is trained and explained.
    """

    methods: Annotated[tuple[str, ...], Flag(("--methods", "-m"), "NAME,...")] = ()
    measures: Annotated[tuple[str, ...], Flag(metavar="NAME,...")] = ()
    phantoms: Annotated[tuple[str, ...], Flag(metavar="NAME,...")] = ()
    images: Annotated[Path | None, Flag(metavar="TABLE")] = None
    network: Annotated[str | None, Flag(metavar="MODEL")] = None
    contrast: Annotated[float | None, Flag()] = None
    trust: Annotated[bool, Flag()] = False
    size: Annotated[str, Flag(metavar="smoke|default|reference|paper")] = "default"

"""What ``regard doctor`` is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from regard.runs.requests.fields import Flag
from regard.runs.requests.shared import FURTHER, LAYER, TARGET, OnDevice, WithNetwork

__all__ = ["DoctorRequest"]


@dataclass(frozen=True, kw_only=True)
class DoctorRequest(WithNetwork, OnDevice):
    """Say what is installed; with a model, probe it.

    A line a probe: ok; told, which then stands beside every map; refused, which draws no map (the exit code is then 2);
    or unclear.

    Example: regard doctor models/brain-age sub-01_T1w.nii.gz

    Parameters
    ----------
    model
        A network to probe; without one, what is installed.
    paths
        Images to probe it with; a random one by default.
    methods
        Probe for these methods; all by default.
    target
        What would be explained, such as logit:1.
    reference
        What would be compared with.
    layer
        Layer of CAM methods.
    further
        Further input.
    """

    model: Annotated[str | None, Flag(metavar="MODEL", argument=True)] = None
    paths: Annotated[tuple[Path, ...], Flag(metavar="CASE", argument=True)] = ()
    methods: Annotated[tuple[str, ...], Flag(("--method", "-m"), "NAME[:knob=value,...]")] = ()
    target: Annotated[str | None, TARGET] = None
    reference: Annotated[str | None, Flag(metavar="FILE")] = None
    layer: Annotated[str | None, LAYER] = None
    further: Annotated[tuple[str, ...], FURTHER] = ()

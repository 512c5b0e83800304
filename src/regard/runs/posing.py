"""A case of an invariance search: its network as a function of the intensities."""

from regard.case.explaining import bind_target
from regard.core import recording
from regard.core.target import AbstractTarget
from regard.explainers.generative.of_model import CaseFunction, crop
from regard.io import Case
from regard.models import Model
from regard.models.case import prepare_case
from regard.runs.invariances_settings import centre_of
from regard.runs.question import scans_of
from regard.runs.requests.invariances import InvariancesRequest

__all__ = ["posed_case"]


def posed_case(request: InvariancesRequest, model: Model, target: AbstractTarget | None, case: Case) -> CaseFunction:
    """A case as a function of its intensities, cropped to the patch that is asked for."""
    scans = dict(scans_of(case, model, request.cut))
    if request.patch is not None and not request.fit:
        centre = centre_of(request.at)
        scans = {name: crop(scan, request.patch, centre) for name, scan in scans.items()}
    prepared = prepare_case(model, scans)
    goal = None
    numbers = request.layer is None and model.card.output.kind not in ("image", "segmentation")
    if target is not None or numbers:
        with recording.intact(prepared.network) as network:
            output = prepared.inputs.call(network, prepared.inputs.tensors)
        goal = bind_target(model, target, output, prepared)
    window = model.card.inputs[0].window
    seen = None if window is None else (float(window[0]), float(window[1]))
    return CaseFunction(prepared, goal, seen, request.layer)

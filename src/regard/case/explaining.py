"""Model, volume and method to explanation: prepare, attribute, bring home."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import torch

from regard.case.bring_home import bring_home, explanation_of, masked
from regard.core import recording
from regard.core.batching import BatchSize
from regard.core.errors import InputError, ReferenceInputError
from regard.core.explainer import Query
from regard.core.explanation import Explanation, NetworkMap
from regard.core.first_pass import first_pass, offered
from regard.core.image_target import Mean
from regard.core.one_thread import alone
from regard.core.recording import GRADIENT
from regard.core.rows import target_values
from regard.core.spatial import n_space
from regard.core.target import AbstractTarget, TargetLike
from regard.core.volume import Volume
from regard.explainers.cam.recorded import shared_pass
from regard.explainers.of_case import fitted, with_reference_cases
from regard.explainers.spec import MethodSpec, parse_methods
from regard.models.binding import bind_target, outputs_of
from regard.models.case import PreparedCase, prepare_case
from regard.models.given import ModelLike, ScanLike, as_model, as_reference, as_region, as_volume, is_array, n_axes_of
from regard.models.model import Ensemble, Model
from regard.models.preparation import outside_training
from regard.models.provenance import made
from regard.models.target_text import read_target
from regard.probing.probe import Preflight
from regard.probing.run import preflight_of_case
from regard.references import FoundReference, ReferenceLike, find_reference

__all__ = ["Explained", "bind_target", "explain", "explain_case"]

Scan = ScanLike | Mapping[str, ScanLike]


@dataclass(frozen=True)
class Explained:
    """All that was computed for one case.

    Parameters
    ----------
    explanations
        One per method and input.
    prediction
        f(x), the target's value.
    output
        The network's output as an image on the scan's grid, for networks that give images.
    outputs
        Every number that the network gave, for networks that give numbers, by name.
    preflight
        What the probes of the network said, where there is a map.
    """

    explanations: tuple[Explanation, ...]
    prediction: float
    output: Volume | None
    outputs: Mapping[str, float]
    preflight: Preflight = field(default_factory=lambda: Preflight(()))


@overload
def explain(
    model: ModelLike,
    scan: Mapping[str, ScanLike],
    method: str | MethodSpec = ...,
    *,
    target: TargetLike | str = ...,
    reference: ReferenceLike = ...,
    reference_cases: Sequence[Scan] = ...,
    layer: str | None = ...,
    reshape: str | None = ...,
    mask: ScanLike | None = ...,
    affine: Any = ...,
    trust: bool = ...,
    seed: int = ...,
    case: str = ...,
    batch_size: BatchSize = ...,
    through_preparation: bool = ...,
) -> dict[str, Explanation]: ...


@overload
def explain(
    model: ModelLike,
    scan: ScanLike,
    method: str | MethodSpec = ...,
    *,
    target: TargetLike | str = ...,
    reference: ReferenceLike = ...,
    reference_cases: Sequence[Scan] = ...,
    layer: str | None = ...,
    reshape: str | None = ...,
    mask: ScanLike | None = ...,
    affine: Any = ...,
    trust: bool = ...,
    seed: int = ...,
    case: str = ...,
    batch_size: BatchSize = ...,
    through_preparation: bool = ...,
) -> Explanation: ...


def explain(
    model: ModelLike,
    scan: Scan,
    method: str | MethodSpec = "grad-ram",
    *,
    target: TargetLike | str = None,
    reference: ReferenceLike = None,
    reference_cases: Sequence[Scan] = (),
    layer: str | None = None,
    reshape: str | None = None,
    mask: ScanLike | None = None,
    affine: Any = None,
    trust: bool = False,
    seed: int = 0,
    case: str = "case",
    batch_size: BatchSize = "auto",
    through_preparation: bool = False,
) -> Explanation | dict[str, Explanation]:
    """Explain what one scan's output depends on.

    Parameters
    ----------
    model
        A model with its card, from `regard.load_model`; the folder or name of one; or a bare network, of which a card
        is inferred and a warning says what was taken for granted.
    scan
        The image: a `Volume`, a path, a nibabel image, a MetaTensor, or a tensor or array (\\*space),
        (channel, \\*space) or (1, channel, \\*space); or a mapping of input name to image for models of several inputs.
    method
        Registered name with its knobs, such as ``"occlusion:window=12"`` or ``"grad-ram:form=published"``.
    target
        What is explained; by default the output, when it is one scalar. A target, or its text as the command line takes
        it (``"logit:1"``, ``"mean:FILE"``). Regions are given in scan space; an array on the scan's grid stands for the
        mean of the output over it.
    reference
        What the scan is compared with: another scan, a `ReferenceValue` ("why not 60": an input whose output is near
        it), or a constant intensity in the network's units.
    reference_cases
        Scans of other cases, for methods that average over references (expected-gradients).
    layer, reshape
        Layer of CAM methods, by default the card's, or the last one with places; and how its output lies, such as
        ``"tokens:14x14+1"`` (`regard.core.places.parse_layout`), where that cannot be told by itself.
    mask
        Region of interest on any grid, or an array on the scan's own: outside it the map is NaN, and what was there is
        stated in ``notes``. Occlusion evaluates no window that does not touch it.
    affine
        Matrix (4, 4), voxel index to RAS mm, of scans that are arrays.
    trust
        Whether code that comes with a model's folder may run.
    seed, case
        Key of the random draws.
    batch_size
        Evaluations at once.
    through_preparation
        Explain the whole pipeline, normalising included, instead of the network on frozen constants.

    Returns
    -------
    Explanation
        On the scan's own grid; a mapping of them for a mapping of scans.

    Raises
    ------
    InputError
        If the scan does not fit the model, or the target, reference or method does not fit the output, or a probe of
        the network refuses (see `regard.preflight`).
    """
    found = explain_case(
        model,
        scan,
        [method],
        target=target,
        reference=reference,
        reference_cases=reference_cases,
        layer=layer,
        reshape=reshape,
        mask=mask,
        affine=affine,
        trust=trust,
        seed=seed,
        case=case,
        batch_size=batch_size,
        through_preparation=through_preparation,
    ).explanations
    return {str(e.input): e for e in found} if isinstance(scan, Mapping) else found[0]


@alone()
def explain_case(
    model: ModelLike,
    scan: Scan,
    methods: Sequence[str | MethodSpec],
    *,
    target: TargetLike | str = None,
    reference: ReferenceLike = None,
    reference_cases: Sequence[Scan] = (),
    layer: str | None = None,
    reshape: str | None = None,
    mask: ScanLike | None = None,
    affine: Any = None,
    trust: bool = False,
    seed: int = 0,
    case: str = "case",
    batch_size: BatchSize = "auto",
    through_preparation: bool = False,
    when_made: Callable[[Sequence[Explanation]], None] | None = None,
    preflight: bool | Preflight = True,
) -> Explained:
    """Explain one case with several methods; CAMs of one layer share one pass.

    Parameters as `explain`; ``when_made`` is given the explanations of each method as soon as they are made, so that a
    run which is stopped loses none. Without ``preflight`` the network is not probed; what an earlier preflight of the
    same network, target and methods said stands in its place.
    """
    model, scans = _as_given(model, scan, affine, trust)
    first = next(iter(scans.values()))
    if isinstance(target, str):
        target = read_target(target, model.card)
    elif is_array(target):
        target = Mean(as_region(target, first), name="region")
    mask = None if mask is None else as_region(mask, first)
    if _is_image(reference):
        reference = as_reference(reference, first, n_axes_of(model))
    others = [_volumes(o, affine if is_array(o) else None, n_axes_of(model)) for o in reference_cases]
    specs = [s.laid_out(reshape) for s in with_reference_cases(parse_methods(methods), others)]
    prepared = prepare_case(model, scans, through_preparation=through_preparation)
    network, inputs, members = prepared.network, prepared.inputs, prepared.members
    alone = len(members) == 1 and GRADIENT in recording.capabilities(network)
    begun = first_pass(network, inputs, graph=alone and bool(specs) and specs[0].method.begins_with_gradient)
    output = begun.output
    goal = bind_target(model, target, output, prepared)
    with torch.no_grad():
        prediction = float(target_values(goal, output, 1, n_space(inputs.tensors[0]))[0])
    question = Query(recording.unwrap(network), inputs, goal, seed=seed, case=case, batch_size=batch_size)
    compared = find_reference(reference, question, prepared, model.card)
    warnings = list(prepared.warnings) + outside_training(model.card, scans, prediction)
    if not math.isfinite(prediction):
        raise InputError(f"a prediction of {prediction}", "a finite number", "check the image and the weights")
    named = layer or model.card.layer
    if named is not None and through_preparation:
        named = f"network.{named}"
    looked = None
    if mask is not None and any(spec.method.takes_mask for spec in specs):
        looked = inputs.rebuild([p.places(mask).to(inputs.tensors[0].device) for p in prepared.parts])
    explanations: list[Explanation] = []
    # CAMs of one layer share one pass, when there is more than one method.
    with shared_pass() if len(specs) > 1 else nullcontext(), offered(begun):
        probed = None
        if specs and preflight is not False:
            before = preflight if isinstance(preflight, Preflight) else None
            probed = _probed(model, prepared, goal, specs, named, compared, prediction, before)
            warnings += probed.check().warnings
            batch_size = 1 if probed.alone else batch_size
        for spec in specs:
            parts, of_case = [], fitted(spec, prepared)
            for member in members:
                explainer = of_case.build(member, layer=named)
                able = compared if explainer.takes_reference else None
                if compared is not None and able is None and len(specs) == 1:
                    raise ReferenceInputError(
                        f"a reference for {spec.name}, which cannot compare with one",
                        "a path or perturbation method",
                        "choose integrated-gradients, input-x-gradient, occlusion, rise or lime",
                    )
                found = explainer.compute(
                    inputs.rebuild(inputs.tensors),
                    goal,
                    reference=None if able is None else inputs.rebuild(able.tensors),
                    seed=seed,
                    case=case,
                    batch_size=batch_size,
                    mask=looked if explainer.takes_mask else None,
                )
                if looked is not None and explainer.takes_mask:
                    # Set to NaN on the scan's grid, where the mask is; here NaN would spread to the neighbours.
                    found.relevance = tuple(r.nan_to_num(0.0) for r in found.relevance)
                parts.append(found)
            of_method: list[Explanation] = []
            for n, (name, part) in enumerate(zip(scans, prepared.parts, strict=True)):
                maps = bring_home(part, parts, n, explainer.meaning[0])
                on_network = NetworkMap.of(parts, n, part.grid, given=able is not None)
                of_method.append(
                    explanation_of(
                        model, spec, explainer.knobs(), explainer.form, parts, maps, *explainer.meaning, able, part,
                        name if isinstance(scan, Mapping) else None, case, goal, prediction, warnings,
                        made(model, scans, seed, batch_size, inputs.tensors[0]), on_network,
                    )
                )  # fmt: skip
            if mask is not None:
                of_method = [masked(e, mask) for e in of_method]
            explanations += of_method
            if when_made is not None:
                when_made(of_method)
    image, numbers = outputs_of(model, output, prepared)
    return Explained(tuple(explanations), prediction, image, numbers, probed or Preflight(()))


def _as_given(model: ModelLike, scan: Scan, affine: Any, trust: bool) -> tuple[Model, dict[str, Volume]]:
    """A model with a card, and its scans by the names of its inputs."""
    if isinstance(model, (str, Path)):
        model = as_model(model, trust=trust)
    volumes = _volumes(scan, affine, n_axes_of(model))
    known = as_model(model, None if isinstance(volumes, dict) else volumes)
    return known, volumes if isinstance(volumes, dict) else {known.card.inputs[0].name: volumes}


def _volumes(scan: Scan, affine: Any, n_axes: int | None) -> Volume | dict[str, Volume]:
    if isinstance(scan, Mapping):
        return {name: as_volume(one, affine=affine, n_axes=n_axes) for name, one in scan.items()}
    return as_volume(scan, affine=affine, n_axes=n_axes)


def _is_image(reference: Any) -> bool:
    """Whether a reference is an image of another kind than a `Volume`, and no number or value to reach."""
    return is_array(reference) or isinstance(reference, Path) or hasattr(reference, "get_fdata")


def _probed(
    model: Model,
    prepared: PreparedCase,
    goal: AbstractTarget,
    specs: Sequence[MethodSpec],
    layer: str | None,
    compared: FoundReference | None,
    prediction: float,
    before: Preflight | None,
) -> Preflight:
    """What is known of the network, probed now if it is not; what holds for this case only is looked at anew."""
    owners = model.members if isinstance(model, Ensemble) else (model,)
    return preflight_of_case(
        prepared.members,
        prepared.inputs,
        goal,
        [fitted(spec, prepared) for spec in specs],
        layer=layer,
        reference=None if compared is None else compared.tensors,
        value=prediction,
        keys=[owner.regard_network for owner in owners],
        before=before,
    )

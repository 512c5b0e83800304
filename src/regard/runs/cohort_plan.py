"""What a request of a cohort names, once it has been read: space, function, backend, configuration."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.cohort.atlas import space_of
from regard.cohort.backends import Backend, DaskWorkers, LocalWorkers, ThisProcess
from regard.cohort.design import check_columns, contrasts
from regard.cohort.explaining import Explaining
from regard.cohort.null import Null
from regard.cohort.question import Question
from regard.cohort.results import Asked
from regard.cohort.retraining import TRUE_LABELS
from regard.core.errors import GeometryError, InputError
from regard.core.optional import need
from regard.core.places import parse_layout
from regard.core.recording import LAYERS
from regard.core.volume import Volume
from regard.explainers.spec import parse_methods
from regard.io import Case, read
from regard.io.contents import named_contents
from regard.io.limits import limited
from regard.io.regions import split_region
from regard.models import Model
from regard.models.scans import read_scans
from regard.runs.computing import batch_size_of
from regard.runs.question import card_sha256
from regard.runs.requests.cohort import CohortRequest

__all__ = ["Space", "asked", "backend", "check", "configuration", "function_of", "null_of", "space"]

logger = logging.getLogger(__name__)

_LOOKED_AT = 5


@dataclass(frozen=True, eq=False)
class Space:
    """Where the maps of a cohort lie.

    Parameters
    ----------
    image
        The template, or the first image that could be read.
    name
        Of the standard space, or ``"scan"``.
    has_template
        Whether there is a template.
    warnings
        What a reader of the regions must know.
    """

    image: Volume
    name: str
    has_template: bool
    warnings: tuple[str, ...] = ()


def check(request: CohortRequest, cases: Sequence[Case]) -> None:
    """Refuse what cannot be done, before anything is computed.

    Raises
    ------
    InputError
        If an option has no such value, two contradict each other, or a column is not in the table.
    """
    if request.maps not in ("all", "none"):
        raise InputError(f"--maps {request.maps}", "all or none")
    if request.null not in ("auto", "randomised", "surrogate", "none"):
        raise InputError(f"--null {request.null}", "auto, randomised, surrogate or none")
    if request.retrained and request.null != "auto":
        raise InputError(f"--retrained and --null {request.null}", "one of them", "leave one out")
    if request.retrained and request.atlas is None:
        raise InputError("--retrained without --atlas", "regions to rank the network in", "give --atlas")
    if request.workers is not None and request.scheduler is not None:
        raise InputError(f"--workers {request.workers} and --scheduler {request.scheduler}", "one of them")
    if request.warp is not None and request.template is None:
        raise InputError(f"--warp {request.warp} without --template", "the image that scans were registered to")
    if request.atlas_table is not None and request.atlas is None:
        raise InputError(f"--atlas-table {request.atlas_table} without --atlas", "both")
    columns = [*request.covariates, *request.by, *([request.groups] if request.groups else [])]
    if columns and request.atlas is None and not request.voxelwise:
        raise InputError(f"--groups, --covariate or --by ({', '.join(columns)})", "regions to compare", "give --atlas")
    if request.voxelwise not in (None, "max-t", "tfce"):
        raise InputError(f"--voxelwise {request.voxelwise}", "max-t or tfce")
    if request.voxelwise and request.maps == "none":
        got = f"--voxelwise {request.voxelwise} with --maps none"
        raise InputError(got, "the maps of all cases", "use --maps all")
    if request.voxelwise and not (request.groups or request.covariates):
        raise InputError(
            f"--voxelwise {request.voxelwise} without an effect", "--groups or --covariate", "name a column"
        )
    files = [request.mask] if request.mask and not Path(split_region(request.mask).path).is_file() else []
    text = request.reference
    if text is not None and not text.startswith("value:") and not Path(text).is_file():
        files.append(text)
    check_columns(cases, [*columns, *files, *([request.warp] if request.warp else [])])
    contrasts(cases, request.groups, request.covariates)
    if request.maps == "all":
        need("zarr", extra="scale", purpose="--maps all (or use --maps none)")
    parse_methods(request.methods)
    batch_size_of(request.batch_size)


def asked(request: CohortRequest) -> Asked:
    """The columns that regions are compared by."""
    return Asked(request.groups, request.covariates, request.by, request.seed)


def null_of(request: CohortRequest, model: Model) -> Null:
    """Which null map to compute: by default of a randomised network, where there are regions to test and layers."""
    if request.retrained:
        return "retrained"
    if request.null != "auto":
        return request.null  # type: ignore[return-value]
    if request.atlas is None:
        return "none"
    return "randomised" if LAYERS in model.capabilities else "surrogate"


def space(request: CohortRequest, cases: Sequence[Case], model: Model) -> Space:
    """The template's grid, or the one that all images share.

    Raises
    ------
    GeometryError
        If there is no template and the first two images that can be read have different grids.
    InputError
        If none of the first images can be read.
    """
    named, warnings = _named(request, cases)
    if request.template is not None:
        return Space(read(request.template), named or "template", has_template=True, warnings=warnings)
    first: Volume | None = None
    for case in cases[:_LOOKED_AT]:
        try:
            image = next(iter(read_scans(case, model).values()))
        except Exception as error:
            logger.debug("%s was left out when looking for the common grid", case.case, exc_info=error)
            continue
        if first is None:
            first = image
        elif not first.grid.matches(image.grid):
            raise GeometryError(
                f"images of {first.shape} and {image.shape} voxels, {_spacing(first)} and {_spacing(image)}",
                "one grid for all",
                "name the common grid with --template FILE",
            )
        else:
            break
    if first is None:
        got = f"none of the first {min(_LOOKED_AT, len(cases))} images of '{request.table}' can be read"
        raise InputError(got, "one at least", "check them, or give --template FILE")
    return Space(first, named or "scan", has_template=False, warnings=warnings)


def _named(request: CohortRequest, cases: Sequence[Case]) -> tuple[str | None, tuple[str, ...]]:
    """The standard space of the maps, as far as files tell; an atlas of another one is a warning."""
    if request.template is not None:
        own, what = space_of(request.template), f"the template '{request.template.name}'"
    else:
        own, what = space_of(next(iter(cases[0].inputs.values()))), "the images"
    other = None if request.atlas is None else space_of(request.atlas)
    if request.atlas is not None and own and other and own != other:
        apart = f"the atlas '{request.atlas.name}' is in {other}, and {what} in {own}"
        return own, (f"{apart}: regions lie some millimetres off",)
    return own or other, ()


def _spacing(image: Volume) -> str:
    return " x ".join(f"{s:.3g}" for s in image.spacing) + (" mm" if image.has_geometry else " pixels")


def function_of(request: CohortRequest, where: Space, null: Null, device: str) -> Explaining:
    """What is done with every case."""
    question = Question(
        limits=limited(),
        model=_absolute(request.model) if Path(request.model).exists() else request.model,
        methods=tuple(str(s) for s in parse_methods(request.methods)),
        weights=None if request.weights is None else _absolute(request.weights),
        trust=request.trust,
        target=request.target,
        reference=_file_or_text(request.reference),
        layer=request.layer,
        reshape=None if request.reshape is None else str(parse_layout(request.reshape)),
        mask=_file_or_text(request.mask),
        seed=request.seed,
        device=device,
        batch_size=batch_size_of(request.batch_size),
        retrained=retrained_networks(request.retrained),
    )
    return Explaining(
        question,
        shape=where.image.shape,
        affine=tuple(float(v) for v in where.image.affine.ravel()),
        has_template=where.has_template,
        warp=request.warp,
        atlas=None if request.atlas is None else _absolute(request.atlas),
        atlas_table=None if request.atlas_table is None else _absolute(request.atlas_table),
        null=null,
        image=not where.has_template,
        pattern=request.pattern,
    )


def backend(request: CohortRequest, threads: int) -> Backend:
    """Where the cases are done."""
    if request.scheduler is not None:
        return DaskWorkers(request.scheduler, threads)
    return ThisProcess(threads) if request.workers is None else LocalWorkers(request.workers, threads)


def configuration(
    request: CohortRequest,
    model: Model,
    function: Explaining,
    cases: Sequence[Case],
    threads: int,
    retrained_sha256: Sequence[str | None] = (),
) -> dict[str, Any]:
    """What makes two runs the same; where the cases are done does not."""
    columns = [sorted(c.columns.items()) for c in cases]
    question = function.question
    return {
        "model": question.model,
        "weights": question.weights,
        "weights_sha256": model.weights_sha256,
        "case_ids": [c.case for c in cases],
        # What a table says of patients can be guessed from its checksum: it is left out where nothing may leave.
        **({} if request.private else {"columns_sha256": _digest(columns)}),
        "methods": list(question.methods),
        "target": question.target,
        "reference": question.reference,
        "layer": question.layer,
        **({"reshape": question.reshape} if question.reshape is not None else {}),
        "mask": question.mask,
        "template": None if request.template is None else _absolute(request.template),
        "warp": request.warp,
        "grid_sha256": _digest([list(function.shape), list(function.affine)]),
        "atlas": function.atlas,
        "atlas_table": function.atlas_table,
        "null": function.null,
        # Left out where it is not asked for, so that older folders go on.
        **({"pattern": True} if function.pattern else {}),
        **({"retrained": list(question.retrained)} if question.retrained else {}),
        "groups": request.groups,
        "covariates": list(request.covariates),
        "by": list(request.by),
        "voxelwise": request.voxelwise,
        "maps": request.maps,
        "seed": request.seed,
        "device": question.device,
        "threads": threads,
        "batch_size": request.batch_size,
        "contents": {
            "card": card_sha256(model),
            **({"retrained": retrained_sha256} if retrained_sha256 else {}),
            **named_contents(
                target=question.target, reference=question.reference, mask=question.mask, template=request.template,
                atlas=function.atlas, atlas_table=function.atlas_table,
            ),
        },
    }  # fmt: skip


def retrained_networks(given: Sequence[str]) -> tuple[str, ...]:
    """Retrained networks by their paths; a folder without a card stands for the models in it, by name.

    What `regard retrain` leaves is such a folder: all but the one of the true labels are taken.
    """
    found: list[str] = []
    for text in given:
        path = Path(text)
        inside = sorted(p.parent for p in path.glob("*/card.yaml")) if path.is_dir() else []
        if (path / "card.yaml").exists() or not inside:
            found.append(_absolute(text) if path.exists() else text)
        else:
            found += [_absolute(p) for p in inside if p.name != TRUE_LABELS]
    return tuple(found)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _absolute(path: str | Path) -> str:
    return os.path.abspath(path)


def _file_or_text(text: str | None) -> str | None:
    if text is None or not Path(split_region(text).path).is_file():
        return text
    return _absolute(text)

"""What ``regard invariances --fit`` does: read the images, train the two networks, write a sampler."""

from contextlib import ExitStack
from dataclasses import replace

from regard.core import recording
from regard.core.errors import InputError
from regard.core.spatial import space
from regard.explainers.generative.fit_sampler import fit_sampler
from regard.explainers.generative.sampler import SamplerSizes, read_sampler, write_sampler
from regard.models import load_model
from regard.runs.invariances_settings import settings
from regard.runs.opening import as_explained, cases_of, folder_of
from regard.runs.posing import posed_case
from regard.runs.progress import shown
from regard.runs.question import read_question
from regard.runs.requests.invariances import InvariancesRequest

__all__ = ["fit"]

FIT_STEPS = 600


def fit(request: InvariancesRequest, device: str) -> tuple[str, ...]:
    """Make a sampler from the images of a request and return what is said of it."""
    sizes = SamplerSizes.of_patch(request.patch or 64)
    cases = cases_of(request)
    model = load_model(request.model, weights=request.weights, trust=request.trust, device=device)
    config = settings(request, model, cases, device)
    question = read_question(as_explained(request, methods=()), model)
    with folder_of(request, "invariances", config, cases, model) as folder:
        for case in cases:
            folder.check_inputs(case)
            folder.record_inputs(case)
        posed = [posed_case(replace(request, fit=True), model, question.target, case) for case in cases]
        for case, one in zip(cases, posed, strict=True):
            side = space(one.image)
            if len(side) != 2 or min(side) < sizes.size:
                raise InputError(
                    f"the image of '{case.case}', {side}", f"slices of {sizes.size} pixels a side, or more"
                )
        if not (folder.path / "models" / "sampler" / "sampler.json").exists():
            with shown(quiet=request.quiet), ExitStack() as stack:
                networks = [stack.enter_context(recording.intact(p.prepared.network)) for p in posed[:1]]
                sampler, facts = fit_sampler(
                    [p.function(networks[0]) for p in posed],
                    [p.image[:, :1] for p in posed],
                    sizes=sizes,
                    n_steps=request.steps or FIT_STEPS,
                    seed=request.seed,
                    folder=folder.path,
                )
            write_sampler(
                folder.path, sampler, {"weights_sha256": model.weights_sha256, "layer": request.layer, "facts": facts}
            )
        sampler, said = read_sampler(folder.path, weights_sha256=model.weights_sha256, layer=request.layer)
    n = sum(p.numel() for p in sampler.parameters())
    losses = ", ".join(f"{k} {v:.4g}" for k, v in said["facts"].items())
    return (
        f"sampler of {sizes.size} x {sizes.size} patches, {n} weights: {losses}",
        f"draw from it: regard invariances MODEL CASE --sampler {request.output} --patch {sizes.size} -o DIR",
    )

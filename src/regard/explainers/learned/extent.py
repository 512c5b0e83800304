"""How a noise map grows with lambda: one setting is no result, the curve is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.core.batching import BatchSize
from regard.core.errors import InputError
from regard.core.inputs import InputLike, Inputs
from regard.core.recording import Network
from regard.core.target import TargetLike
from regard.explainers.learned.noise_map import NoiseMap

__all__ = ["STRENGTHS", "ExtentRow", "extent_curve"]

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Lambdas of the curve, as shares of the squared spread."""


@dataclass(frozen=True)
class ExtentRow:
    """One lambda.

    Parameters
    ----------
    strength, weight
        Lambda as a share of the squared spread, and in squared output units (mean over cases).
    mean_noise
        Mean of B over the foreground.
    share_important
        Share of the foreground where B is below one half: the map's extent.
    prediction_change
        Root mean square of f(noisy) - f(clean), in output units, over fresh draws and cases.
    strongest_change
        The same under the strongest noise everywhere: what the curve ends at.
    n_cases
        Number of cases.
    """

    strength: float
    weight: float
    mean_noise: float
    share_important: float
    prediction_change: float
    strongest_change: float
    n_cases: int


def extent_curve(
    network: Network,
    inputs: InputLike,
    target: TargetLike = None,
    *,
    strengths: Sequence[float] = STRENGTHS,
    knobs: Mapping[str, Any] | None = None,
    models: Sequence[str] = (),
    seed: int = 0,
    case: str = "",
    batch_size: BatchSize = "auto",
) -> list[ExtentRow]:
    """Extent of the map and change of the prediction for several lambdas.

    Parameters
    ----------
    network, inputs, target
        As `NoiseMap.attribute`; means over the cases of the batch.
    strengths
        Lambdas of the maps that are found image by image.
    knobs
        Other settings of `NoiseMap`.
    models
        Folders of noise models, each trained with a lambda of its own: one row for each, in place of ``strengths``.
    seed, case, batch_size
        As `NoiseMap.attribute`.

    Returns
    -------
    list of ExtentRow
        By rising lambda.

    Raises
    ------
    InputError
        If there is no lambda, or the loss is not of the prediction.
    """
    settings = dict(knobs or {})
    if settings.get("loss", "squared") != "squared" or {"strength", "model"} & set(settings):
        raise InputError(f"knobs {settings}", "the squared loss, and neither strength nor model", "leave them out")
    if not models and not strengths:
        raise InputError("a curve of 0 lambdas", "at least one", "give strengths or models")
    explainers = [NoiseMap(network, model=m, **settings) for m in models] or [
        NoiseMap(network, strength=s, **settings) for s in strengths
    ]
    n_cases = Inputs.of(inputs).n_cases
    rows = []
    for explainer in explainers:
        notes = explainer.compute(inputs, target, seed=seed, case=case, batch_size=batch_size).notes

        def over_cases(name: str, notes: Mapping[str, Any] = notes) -> np.ndarray:
            return np.broadcast_to(np.asarray(notes[name], dtype=np.float64), (n_cases,))

        rows.append(
            ExtentRow(
                explainer.strength,
                float(over_cases("lambda").mean()),
                float(over_cases("mean_noise").mean()),
                float(over_cases("share_important").mean()),
                float(np.sqrt(np.square(over_cases("prediction_change_rms")).mean())),
                float(np.sqrt(np.square(over_cases("prediction_change_rms_strongest_noise")).mean())),
                n_cases,
            )
        )
    return sorted(rows, key=lambda row: row.weight)

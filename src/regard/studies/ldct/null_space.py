"""The Jacobian's null space of each denoiser: smooth directions it answers to least, followed as far as they hide."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import recording
from regard.explainers.generative.null_space import follow_null_space
from regard.studies.ldct.config import NETWORKS
from regard.studies.ldct.explain import CONTROLS, n_draws
from regard.studies.ldct.material import Material
from regard.studies.ldct.networks import function_of
from regard.studies.ldct.slices import Scene
from regard.studies.scoring.bootstrap import Score, mean_score

__all__ = ["Free", "free_directions", "null_space_cases", "null_space_scores"]


@dataclass(frozen=True, eq=False)
class Free:
    """What a network leaves free at a patch, to first order and as far as it goes.

    Parameters
    ----------
    scene
        Whose.
    gains
        Of the network, smallest first (direction,).
    gain_gaussian
        The least one of the Gaussian filter of equal noise reduction (1,).
    changes
        Directions of least gain, each as far as the tolerance lets it go (k, 1, row, column) [HU].
    output, outputs
        f(x), and what the network makes of the changes: f(x + change) - f(x).
    d_prime
        Largest d' of each of these (k,).
    hidden
        d' in the scan of each change (k,); of the furthest change along the same direction that a control hides,
        ``identity`` and ``gaussian``.
    """

    scene: Scene
    gains: Tensor
    gain_gaussian: Tensor
    changes: Tensor
    output: Tensor
    outputs: Tensor
    d_prime: Tensor
    hidden: Tensor
    identity: Tensor
    gaussian: Tensor

    @property
    def gain_there(self) -> Tensor:
        """Gain at the end of each direction, where the network need no longer be linear (k,)."""
        return self.outputs.flatten(1).norm(dim=1) / self.changes.flatten(1).norm(dim=1)


def free_directions(material: Material, name: str, scene: Scene) -> Free:
    """The null space of a network at a patch: found, or read if it has been."""
    plan, seed = material.config.explain, material.run.seed

    def make() -> dict[str, Tensor]:
        model = material.model(name)
        with recording.intact(model.network):
            return _free(material, function_of(model), scene)

    kept = material.run.tensors(f"explain/null-space-{name}-{scene.case}-{plan.null_cosines}-{seed}", make)
    return Free(scene, **kept)


def _free(material: Material, function: Callable[[Tensor], Tensor], scene: Scene) -> dict[str, Tensor]:
    plan = material.config.explain
    found, space = follow_null_space(
        function, scene.image, scene.noise, n=plan.n_null, tolerance=plan.tolerance, limit=plan.limit,
        n_draws=n_draws(material), n_cosines=plan.null_cosines, seed=material.run.seed, case=scene.case,
    )  # fmt: skip
    kept = {
        "gains": space.gains,
        "gain_gaussian": torch.tensor([float(found.facts["least gain of the blur"])]),
        "changes": found.samples - found.image,
        "output": found.output,
        "outputs": found.outputs - found.output,
        "d_prime": found.d_prime,
        "hidden": found.distance,
        **found.controls,
    }
    return {k: v.float().cpu() for k, v in kept.items()}


def null_space_cases(material: Material) -> dict[str, dict[str, Score]]:
    """Scores by group, ``null_space_<network>``; see `null_space_scores`."""
    networks, scenes = material.config.train.networks, material.scenes
    scores = {}
    for n, name in enumerate(networks):
        found = []
        for k, scene in enumerate(scenes):
            material.run.stage(f"null space of {NETWORKS[name]}", n * len(scenes) + k, len(networks) * len(scenes))
            found.append(free_directions(material, name, scene))
        scores[f"null_space_{name}"] = null_space_scores(found)
    return scores


def null_space_scores(found: Sequence[Free]) -> dict[str, Score]:
    """Gains and hidden changes, over patients.

    ``least_gain`` and ``median_gain`` of the network, ``least_gain_gaussian`` of the filter, ``share_below_tenth``;
    ``hidden`` and what the controls hide along the same directions, with the paired excess; ``gain_there`` over the
    gain at the patch: 1 where the network is linear as far as the tolerance goes.
    """
    patients = [f.scene.patient for f in found]

    def score(values: Sequence[float], unit: str = "1") -> Score:
        return mean_score(values, patients, unit)

    hidden = [float(f.hidden.median()) for f in found]
    scores = {
        "least_gain": score([float(f.gains[0]) for f in found]),
        "median_gain": score([float(f.gains.median()) for f in found]),
        "least_gain_gaussian": score([float(f.gain_gaussian) for f in found]),
        "share_below_tenth": score([float((f.gains < 0.1).double().mean()) for f in found]),
        "gain_there": score([_ratio(f) for f in found]),
        "hidden": score(hidden, "d'"),
    }
    for control in CONTROLS:
        theirs = [float(getattr(f, control).median()) for f in found]
        scores[f"hidden_{control}"] = score(theirs, "d'")
        scores[f"excess_over_{control}"] = score([a - b for a, b in zip(hidden, theirs, strict=True)], "d'")
    return scores


def _ratio(free: Free) -> float:
    return float((free.gain_there / free.gains[: len(free.changes)].clamp_min(1e-30)).median())

"""How much noise each place bears."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from regard.core.errors import InputError, ShapeError
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query
from regard.core.quantity import Promise, Quantity, Sign
from regard.core.recording import Network
from regard.core.spatial import space
from regard.explainers.knobs import real, whole
from regard.explainers.learned.optimise import (
    N_PROBES,
    Loss,
    Noised,
    Optimised,
    PerImage,
    optimise_noise,
    read_preserve,
)
from regard.explainers.perturbation.fillers import nothing_known
from regard.explainers.reference import input_name
from regard.training.noise_files import NoiseModel, network_sha256, read_noise_model
from regard.training.noising import Estimator, Foreground, NoiseSettings

__all__ = ["LEARNED_PROBES", "NoiseMap"]

LEARNED_PROBES = 16
"""Draws that the figures of a learned map rest on."""


class NoiseMap(AbstractExplainer):
    """One minus the strength B of the noise that a place bears while the output is preserved: 0 bears all, 1 none.

    B minimises E (f(x + sigma(B) noise) - y)^2 - lambda mean log B, with sigma = s_min + B (s_max - s_min). It is
    *noise tolerance*, a score: a wide region whose evidence is averaged bears more noise than a small one of equal
    effect. Where the noise is not added (outside the foreground) the map is 0. The notes say what the noise of the map
    does to the output, in its unit, in fresh draws; these figures and lambda come with their standard errors.

    Parameters
    ----------
    network
        A network that gradients pass through.
    model
        Folder of a noise model that was trained for this network (`regard.training.noise.fit_noise`): one forward pass
        a case. It brings its noise, and the other knobs must be as there or unset. By default each image's B is found
        directly.
    strength
        Lambda as a share of the squared ``spread``. A linear f with s_min = 0 is then changed by at most
        sqrt(strength / 2) spreads (root mean square).
    spread
        Standard deviation of f over a cohort, in output units; by default the root mean square change of f under the
        strongest noise on this image.
    family
        ``"gaussian"``, ``"correlated"``, ``"blur"`` or ``"local-mean"``; see `regard.training.noising.FAMILIES`.
    s_min, s_max
        Noise strength where B is 0 and where it is 1, in ``unit``; a share of the way to the filler for ``"blur"`` and
        ``"local-mean"``. U-Noise: 1 and 5, which leaves noise at every place, also the important ones.
    unit
        ``"image"``: standard deviations of the case's foreground; ``"input"``: intensities of the network's input.
    scales
        Length scales of the noise in voxels, gone through draw by draw.
    foreground
        ``"auto"`` (above the background: `regard.core.foreground`), ``"all"``, or a number that foreground is above.
    preserve
        ``"prediction"``, or the label: a number in output units.
    loss
        ``"squared"``, or ``"segmentation"``: binary cross entropy with the model's own soft segmentation.
    smoothness
        Weight of the total variation per voxel of B, in units of lambda.
    cell
        Size in voxels of the cells that B is found on, interpolated linearly.
    n_steps, n_draws, learning_rate
        Steps of Adam on log B (the rate falls as a cosine), and noise draws in each.
    estimator
        ``"paired"`` or ``"pathwise"``; see `regard.training.noising.noise_gradient`. Noise that is not normal, and
        the segmentation loss, are always pathwise.
    form
        ``"published"`` is relu(-logit of B) over its maximum.

    Raises
    ------
    InputError
        If a knob is out of its range, or differs from what ``model`` was trained with, or ``model`` was trained for
        another network.

    Notes
    -----
    Koker et al. 2021 (arXiv 2101.05791) for segmentation; Bintsi et al. 2021 (arXiv 2108.05388) for brain age, whose
    settings are not published: these are ours.
    """

    quantity = Quantity.SCORE
    sign = Sign.UNSIGNED
    without_space = "no noise is put on it, and its map is NaN: features have no scale in common"
    breaks = {
        Promise.COMPLETE: "a tolerance, not a share of the output",
        Promise.SCALE: "an output of three times the size bears the same noise, as lambda grows with it",
    }

    def __init__(
        self,
        network: Network,
        *,
        model: str | None = None,
        strength: float = 0.1,
        spread: float | None = None,
        family: str = "gaussian",
        s_min: float = 0.0,
        s_max: float = 1.0,
        unit: Literal["image", "input"] = "image",
        scales: float | Sequence[float] = (1.0, 2.0, 4.0),
        foreground: Foreground = "auto",
        preserve: float | Literal["prediction"] = "prediction",
        loss: Loss = "squared",
        smoothness: float = 0.0,
        cell: int = 1,
        n_steps: int = 100,
        n_draws: int = 2,
        learning_rate: float = 0.2,
        estimator: Estimator = "paired",
        form: Form = "signed",
    ) -> None:
        super().__init__(network, form=form)
        self.model = None if model is None else str(model)
        self.strength = real("strength", strength, 0)
        self.spread = None if spread is None else real("spread", spread, 0)
        self.family = family
        self.s_min, self.s_max = real("s_min", s_min, 0, open_low=False), real("s_max", s_max, 0)
        self.unit = unit
        widths = scales if isinstance(scales, Sequence) else (scales,)
        self.scales = tuple(real("scales", s, 0) for s in widths)
        self.foreground: Foreground = foreground
        self.preserve = read_preserve(preserve)
        if loss not in ("squared", "segmentation"):
            raise InputError(f"loss '{loss}'", "squared or segmentation")
        self.loss: Loss = loss
        self.smoothness = real("smoothness", smoothness, 0, open_low=False)
        self.cell = whole("cell", cell)
        self.n_steps, self.n_draws = whole("n_steps", n_steps), whole("n_draws", n_draws)
        self.learning_rate = real("learning_rate", learning_rate, 0)
        settings = self.settings
        direct = settings.family in ("gaussian", "correlated") and loss == "squared"
        self.estimator: Estimator = estimator if direct else "pathwise"
        settings.check(self.estimator)
        self._noise_model: NoiseModel | None = None
        if self.model is not None:
            self._noise_model = read_noise_model(Path(self.model))
            self._take_over(self._noise_model)

    @property
    def settings(self) -> NoiseSettings:
        """The noise."""
        return NoiseSettings(self.family, self.s_min, self.s_max, self.unit, self.scales, self.foreground)

    @property
    def per_image(self) -> PerImage:
        """The settings of the direct optimisation."""
        return PerImage(
            self.settings, self.loss, self.preserve, self.strength, self.spread, self.smoothness, self.cell,
            self.n_steps, self.n_draws, self.learning_rate, self.estimator,
        )  # fmt: skip

    def knobs(self) -> dict[str, Any]:
        """The settings by name; of a noise model the folder's name, as paths stay on this machine."""
        return {**super().knobs(), "model": None if self.model is None else Path(self.model).name}

    def _take_over(self, found: NoiseModel) -> None:
        """Use what the noise model was trained with; knobs that were set to something else are an error."""
        plain: dict[str, Any] = {**asdict(NoiseSettings()), **asdict(PerImage())}
        stored = {**asdict(found.settings), "strength": found.strength, "spread": found.spread, "loss": found.loss}
        stored |= {"smoothness": found.smoothness, "estimator": found.estimator}
        for name, value in stored.items():
            mine = getattr(self, name)
            if mine not in (plain[name], value):
                raise InputError(
                    f"{name}={mine} for a noise model that was trained with {value}", f"{name}={value}", "leave it out"
                )
            setattr(self, name, value)
        expected, is_now = found.network_sha256, network_sha256(self.network)
        if expected is not None and is_now is not None and expected != is_now:
            raise InputError(
                f"a noise model that was trained for another network ({expected[:12]}, and this is {is_now[:12]})",
                "the network that it was trained for, as its maps know no other",
                "train one for this network, or leave model out",
            )

    def _attribute(self, query: Query) -> Attribution:
        learned = self._noise_model is not None
        # A learned map costs one pass; what is said of it must not cost many, nor a pass back.
        n_probes = LEARNED_PROBES if learned else N_PROBES
        noised = Noised(query, self.settings, self.loss, n_probes=n_probes, by_derivative=not learned)
        found = self._learned(noised) if learned else optimise_noise(query, self.per_image)
        noise = found.noise
        if self.form == "published":
            maps = tuple(_published(b, k) for b, k in zip(noise, found.inside, strict=True))
        else:
            maps = tuple(torch.where(k, 1 - b, 0.0) for b, k in zip(noise, found.inside, strict=True))
        warnings = []
        for n, x in enumerate(query.inputs.tensors):
            if not space(x):
                maps = (*maps[:n], nothing_known(x), *maps[n + 1 :])
                warnings.append(
                    f"{input_name(query.inputs, n)} has no space (batch, feature), and its features no scale of noise "
                    "in common: no noise is put on it and its map is NaN; choose occlusion or shapley, with a reference"
                )
            elif self.settings.unit == "image" and bool((x.flatten(2).amin(2) == x.flatten(2).amax(2)).any()):
                warnings.append(
                    f"a channel of {input_name(query.inputs, n)} is constant and has no deviation of its own: noise of "
                    "strength 1 is 1 in the network's input units there; set unit=input and s_max"
                )
        return Attribution(maps, noised.value, notes=self._notes(noised, found), warnings=warnings)

    def _learned(self, noised: Noised) -> Optimised:
        assert self._noise_model is not None
        if len(noised.inputs) > 1:
            raise ShapeError(
                f"{len(noised.inputs)} inputs for a noise model of one",
                "one input",
                "leave model out: noise-map per image",
            )
        noise = self._noise_model.noise(noised.inputs[0])
        everywhere = noised.everywhere()
        weight, _, weight_from = noised.weight(self.strength, self._noise_model.spread, everywhere)
        return Optimised((noise,), noised.inside, weight, f"{weight_from} of the cohort", everywhere)

    def _origin(self) -> str:
        if self._noise_model is None:
            return "found for this image"
        return f"learned over {self._noise_model.n} cases, weights {str(network_sha256(self._noise_model.unet))[:12]}"

    def _notes(self, noised: Noised, found: Optimised) -> dict[str, Any]:
        """What the map's noise does to the output, and how much of the image bears it."""
        change = noised.change(found.noise, "check")
        places = torch.cat([b[k] for b, k in zip(found.noise, found.inside, strict=True)]).double()
        whole_image = sum(k.numel() for k in found.inside)
        name = "prediction_change" if self.loss == "squared" else "loss_change"
        return {
            f"{name}_rms": change.rms,
            f"{name}_rms_standard_error": change.rms_error,
            f"{name}_mean": change.mean,
            f"{name}_mean_standard_error": change.mean_error,
            f"{name}_rms_strongest_noise": found.everywhere.rms,
            f"{name}_rms_strongest_noise_standard_error": found.everywhere.rms_error,
            "n_probes": change.n_draws,
            "mean_noise": float(places.mean()),
            "share_important": float((places < 0.5).double().mean()),
            "foreground_share": places.numel() / whole_image,
            "lambda": found.weight,
            "lambda_standard_error": found.weight_error,
            "lambda_from": found.weight_from,
            "noise": self._origin(),
        }


def _published(noise: Tensor, inside: Tensor) -> Tensor:
    """relu(-logit) over its maximum, the picture of U-Noise."""
    drawn = torch.where(inside, (-noise.logit()).relu(), 0.0)
    largest = drawn.amax()
    return drawn / largest if largest > 0 else torch.zeros_like(drawn)

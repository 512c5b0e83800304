"""What a phantom's task asks of a network: its architecture, its loss, the scalar that is explained, its grades."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core.image_target import Mean
from regard.core.registry import Registry
from regard.core.target import AbstractTarget, Logit, Output
from regard.models.zoo import ZOO
from regard.phantoms.planted import Planted, PlantedPhantom
from regard.training.measure import Loss

__all__ = ["Kind", "Question", "question_of"]

Kind: TypeAlias = Literal["regression", "classification", "image"]
"""What comes out of a network."""

_REGRESSOR, _UNET = "features.block1", "model.1.submodule.0"
"""The layers of a quarter of the image's sides."""


def _region(subject: Planted) -> Tensor:
    """Where an output image is averaged: the voxels that the structure fills by more than half, (\\*space)."""
    return subject.structure > 0.5


@dataclass(frozen=True)
class Question:
    """How the networks of one phantom are built, asked and graded.

    Parameters
    ----------
    kind
        What comes out.
    layer
        Layer of the CAM methods: a quarter of the image's sides; None for the automatic one.
    loss
        Of the training.
    error, quality
        Names of the error and of the figure of merit; an error in ``error_unit``.
    unit
        Of the scalar that is explained.
    error_unit
        Of the error.
    trivial
        Name of what the network is compared with beside the mean of the training labels.
    """

    kind: Kind
    layer: str | None
    loss: Loss
    error: str
    quality: str
    unit: str
    error_unit: str
    trivial: str

    def network(self, spatial_dims: int, *, zoo: Registry = ZOO) -> nn.Module:
        """The untrained network."""
        if self.kind == "image":
            built = zoo.load("monai-unet")(
                spatial_dims, widths=(8, 16, 32, 32), residual_units=0, norm="BATCH", activation="RELU"
            )
        else:
            built = zoo.load("small-regressor")(spatial_dims, head="flatten", cells=4)
        return built  # type: ignore[no-any-return]

    def target(self, subject: Planted) -> AbstractTarget:
        """The scalar that is explained: the number, the logit, or the mean of the output over the structure."""
        if self.kind == "image":
            return Mean(_region(subject).float(), name="structure")
        return Logit(1) if self.kind == "classification" else Output(0)

    def wanted(self, subjects: list[Planted]) -> Tensor:
        """What the network is trained to give: (case,), or images (case, \\*space)."""
        return torch.stack([s.target[0] for s in subjects])

    def labels(self, subjects: list[Planted]) -> np.ndarray:
        """What the scalar should be: the label, the class, or the true image's mean over the structure, (case,)."""
        if self.kind == "image":
            return np.array([float(s.target[0][_region(s)].double().mean()) for s in subjects])
        return np.array([float(s.target[0]) for s in subjects])

    def error_of(self, predicted: np.ndarray, wanted: np.ndarray) -> float:
        """Mean absolute error of numbers, share of classes that is wrong, or root mean square error of images.

        Parameters
        ----------
        predicted
            Numbers, or logits (above 0 is the upper class), (case,); or images (case, \\*space).
        wanted
            Numbers or classes (case,), or images (case, \\*space).
        """
        if self.kind == "classification":
            return float(((predicted > 0) != (wanted > 0.5)).mean())
        if self.kind == "image":
            return float(np.sqrt(np.square(predicted - wanted).mean()))
        return float(np.abs(predicted - wanted).mean())

    def quality_of(self, predicted: np.ndarray, labels: np.ndarray) -> float:
        """Share of the scalar's variance that is explained, or the area under the ROC curve; both (case,)."""
        if self.kind != "classification":
            return float(1 - np.square(predicted - labels).sum() / np.square(labels - labels.mean()).sum())
        pairs = np.sign(predicted[labels > 0.5][:, None] - predicted[labels <= 0.5][None])
        return float((pairs + 1).mean() / 2) if pairs.size else float("nan")


def question_of(phantom: PlantedPhantom) -> Question:
    """What is asked of the networks of a phantom."""
    if phantom.task == "classification":
        loss = functional.binary_cross_entropy_with_logits
        return Question("classification", _REGRESSOR, loss, "error_rate", "auc", "logit", "1", "histogram")
    if phantom.task == "regression":
        unit = phantom.unit
        return Question("regression", _REGRESSOR, functional.huber_loss, "mae", "r2", unit, unit, "histogram")
    return Question("image", _UNET, functional.mse_loss, "rmse", "r2", "signal", "signal", "input")

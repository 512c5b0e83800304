"""Networks of one recipe for true and for shuffled labels: a short training from scratch of any network of one number.

What a training must be for networks to be compared: the same architecture, images, steps and schedule, weights drawn
anew for each, and nothing different but which image has which label.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core.errors import InputError
from regard.training.measure import Loss, fit, fold_scale

__all__ = ["Recipe", "drawn_anew", "train_from_scratch"]


@dataclass(frozen=True)
class Recipe:
    """How each network is trained.

    Parameters
    ----------
    n_epochs, batch_size, learning_rate
        Of Adam, with a cosine schedule.
    classify
        Whether the labels are 0 and 1 and the output is a logit; else they are numbers, and Huber's loss is taken.
    """

    n_epochs: int = 30
    batch_size: int = 16
    learning_rate: float = 3e-3
    classify: bool = False


def drawn_anew(network: nn.Module, seed: int) -> nn.Module:
    """A copy of a network whose weights are as they were before any training, by its layers' own rules.

    All of them can be trained, also where the network came frozen.

    Raises
    ------
    InputError
        If a parameter belongs to no layer that can draw it anew.
    """
    fresh = copy.deepcopy(network)
    before = {name: v.detach().clone() for name, v in fresh.named_parameters()}
    drawn: set[int] = set()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in fresh.modules():
            # Attention as torch has it hides its rule behind an underscore.
            again = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if callable(again):
                again()
                drawn |= {id(p) for p in module.parameters()}
    left = [name for name, p in fresh.named_parameters() if id(p) not in drawn]
    if left:
        got = f"parameters that no layer draws anew ({', '.join(left[:3])}, {len(left)} of {len(before)})"
        raise InputError(got, "layers with reset_parameters", "train the networks yourself")
    return fresh.requires_grad_(True).train()


def train_from_scratch(
    network: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe, *, seed: int, accelerator: str = "cpu"
) -> nn.Module:
    """Train a copy of a network from new weights, and return it in evaluation mode, in the labels' unit.

    Parameters
    ----------
    network
        Images (batch, channel, \\*space) to numbers (batch, 1); stays as it is.
    images
        (case, channel, \\*space), prepared.
    labels
        (case,).
    recipe
        Of the training.
    seed
        Of the weights and of the order of the cases.
    accelerator
        Where to train, ``"cpu"`` or ``"cuda"``; the network comes back to the CPU.

    Raises
    ------
    InputError
        If the labels are all alike, or a network of numbers does not end in a linear layer that can take their scale.
    """
    fresh = drawn_anew(network, seed)
    values = labels.float()
    if float(values.std()) == 0:
        raise InputError(f"{len(values)} labels, all {float(values[0]):g}", "labels that differ", "check the column")
    loss: Loss = functional.binary_cross_entropy_with_logits if recipe.classify else functional.huber_loss
    mean, deviation = (0.0, 1.0) if recipe.classify else (float(values.mean()), float(values.std()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fit(
            fresh, images, (values - mean) / deviation, n_epochs=recipe.n_epochs, batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate, seed=seed, loss=loss,
            accelerator="gpu" if accelerator.startswith("cuda") else "cpu",
        )  # fmt: skip
    fresh.cpu()
    if not recipe.classify:
        _in_unit(fresh, images[:2], mean, deviation)
    return fresh.eval()


def _in_unit(network: nn.Module, images: Tensor, mean: float, deviation: float) -> None:
    """Fold the labels' scale into the last layer, where what follows it is nothing."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
    with torch.no_grad():
        before = network(images)
        if layers and layers[-1].bias is not None:
            fold_scale(layers[-1], mean, deviation)
        after = network(images)
    if not torch.allclose(after, before * deviation + mean, rtol=1e-3, atol=1e-3 * deviation):
        got = "a network whose output is not that of its last linear layer"
        raise InputError(got, "a linear layer with a bias at its end", "train the networks yourself")

"""Suppressors that need no network: the radiograph as it is, the mean bone image, a fitted linear filter."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from regard.core import randomness
from regard.studies.bone_suppression.config import ScoreSection
from regard.studies.bone_suppression.pairs import Pairs

__all__ = ["BASELINES", "LinearFilter", "Suppress", "baselines", "fit_filter"]

Suppress = Callable[[Tensor], Tensor]
"""Radiographs (case, 1, row, column) to their soft tissue."""

BASELINES = {
    "input": "the radiograph as it is",
    "blur": "the radiograph blurred by 2 pixels",
    "mean_bone": "less the mean bone image of the training set",
    "linear_filter": "a linear filter, fitted by least squares",
}
"""Names and what they are."""


class LinearFilter(torch.nn.Module):
    """A filter and a constant.

    Parameters
    ----------
    weight
        (1, 1, width, width).
    constant
        Added.
    """

    def __init__(self, weight: Tensor, constant: float) -> None:
        super().__init__()
        self.weight: Tensor
        self.register_buffer("weight", weight)
        self.constant = constant

    def forward(self, x: Tensor) -> Tensor:
        """Radiographs (case, 1, row, column) to the same shape; borders are repeated."""
        half = self.weight.shape[-1] // 2
        padded = functional.pad(x, (half, half, half, half), mode="replicate")
        return functional.conv2d(padded, self.weight) + self.constant


def fit_filter(learn: Pairs, *, width: int, n_pixels: int, penalty: float = 1e-4, seed: int = 0) -> LinearFilter:
    """Fit the linear filter that makes soft tissue of radiographs with the least squared error.

    Parameters
    ----------
    learn
        Pairs.
    width
        Side of the filter [pixel], odd.
    n_pixels
        Pixels that it is fitted on, drawn at random.
    penalty
        On the squares of the weights, relative to the mean square of an input.
    seed
        Of the draws.
    """
    half = width // 2
    padded = functional.pad(learn.images, (half, half, half, half), mode="replicate")
    each = max(1, n_pixels // len(learn))
    offsets = torch.arange(width)
    n = width * width
    gram, wanted = torch.zeros(n + 1, n + 1, dtype=torch.float64), torch.zeros(n + 1, dtype=torch.float64)
    for case in range(len(learn)):
        u = randomness.uniform((2, each), seed, "linear filter", case)
        row = (u[0] * learn.images.shape[2]).long()
        column = (u[1] * learn.images.shape[3]).long()
        rows, columns = row[:, None, None] + offsets[:, None], column[:, None, None] + offsets[None]
        seen = padded[case, 0][rows, columns].flatten(1).double()
        seen = torch.cat((seen, torch.ones(each, 1, dtype=torch.float64)), 1)
        # What is fitted is the bone image, so that the penalty draws towards the radiograph itself.
        bone = (learn.images - learn.soft)[case, 0][row, column].double()
        gram += seen.T @ seen
        wanted += seen.T @ bone
    gram[:n, :n] += penalty * float(gram.diagonal()[:n].mean()) * torch.eye(n, dtype=torch.float64)
    solved = torch.linalg.solve(gram, wanted).float()
    weight = -solved[:n].reshape(1, 1, width, width)
    weight[0, 0, half, half] += 1
    return LinearFilter(weight, -float(solved[n]))


def baselines(learn: Pairs, section: ScoreSection, *, seed: int = 0) -> Mapping[str, Suppress]:
    """Every baseline by name, fitted on the training pairs."""
    bone = learn.removed.mean(0, keepdim=True)
    fitted = fit_filter(learn, width=section.filter_width, n_pixels=section.filter_pixels, seed=seed)
    offsets = torch.arange(-6, 7, dtype=torch.float32)
    line = torch.exp(-0.5 * (offsets / 2).square())
    line = line / line.sum()

    def blurred(x: Tensor) -> Tensor:
        padded = functional.pad(x, (6, 6, 6, 6), mode="replicate")
        return functional.conv2d(functional.conv2d(padded, line.reshape(1, 1, -1, 1)), line.reshape(1, 1, 1, -1))

    return {"input": lambda x: x, "blur": blurred, "mean_bone": lambda x: (x - bone).clamp(0, 1),
            "linear_filter": lambda x: fitted(x).clamp(0, 1)}  # fmt: skip

"""A trained noise model on disk: a card, its weights, and what it was trained with."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save
from torch import Tensor, nn

from regard.core.errors import CardError, FileError, InputError
from regard.core.recording import Network, unwrap
from regard.io.atomic import write_bytes, write_yaml
from regard.io.schema import read_yaml
from regard.models.card import InputSpec, ModelCard, OutputSpec, TrainedOn, write_card
from regard.models.load import load_model
from regard.training.noising import NoiseSettings

__all__ = ["NoiseModel", "network_sha256", "read_noise_model"]


def network_sha256(network: Network) -> str | None:
    """Checksum of a network's parameters and buffers, in their order, as float32; None where it has none."""
    network = unwrap(network)
    if not isinstance(network, nn.Module):
        return None
    said = hashlib.sha256()
    for name, value in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            said.update(str(tuple(value.shape)).encode())
            said.update(value.detach().cpu().float().numpy().tobytes())
    return said.hexdigest()


@dataclass(frozen=True)
class NoiseModel:
    """A network that says how much noise each place of an image bears, and what it was trained with.

    Parameters
    ----------
    unet
        Image (batch, channel, \\*space) to logits of B, (batch, 1, \\*space).
    zoo, kwargs
        Name in the zoo and arguments that build it.
    settings
        The noise.
    strength, spread
        Lambda is strength times the squared spread: the standard deviation of f over the training cohort.
    loss, smoothness, estimator
        As in training.
    network_sha256
        Of the network that is explained; see `network_sha256`.
    n
        Number of training cases.
    prediction_change
        Root mean square of f(noisy) - f(clean) over the training cases, in output units; of a segmentation None.
    """

    unet: nn.Module
    zoo: str
    kwargs: dict[str, Any]
    settings: NoiseSettings
    strength: float
    spread: float
    loss: Literal["squared", "segmentation"]
    smoothness: float
    estimator: str
    network_sha256: str | None
    n: int
    prediction_change: float | None = None

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Logits of B for prepared images (batch, channel, \\*space): (batch, 1, \\*space), at least float32.

        Raises
        ------
        InputError
            If the images have other channels than the training images.
        """
        if x.shape[1] != self.kwargs["channels"]:
            raise InputError(
                f"an image of {x.shape[1]} channels for a noise model of {self.kwargs['channels']}", "as many"
            )
        unet = self.unet.eval().to(x.device)
        return unet(x.to(next(unet.parameters()).dtype)).to(torch.promote_types(x.dtype, torch.float32))  # type: ignore[no-any-return]

    def noise(self, x: Tensor) -> Tensor:
        """B of prepared images, (batch, 1, \\*space); 0 outside the foreground, where none is added."""
        return torch.where(self.settings.inside(x), self.logits(x).sigmoid(), 0.0)

    def save(self, folder: str | Path, *, name: str = "noise model", licence: str | None = None) -> Path:
        """Write card.yaml, weights.safetensors and noise.yaml; returns the folder, the knob ``model`` of noise-map."""
        folder = Path(folder)
        content = save({k: v.detach().cpu().contiguous() for k, v in self.unet.state_dict().items()})
        write_bytes(folder / "weights.safetensors", content)
        axes = int(self.kwargs["spatial_dims"])
        card = ModelCard(
            name=name,
            licence=licence,
            zoo=self.zoo,
            kwargs=self.kwargs,
            weights="weights.safetensors",
            sha256=hashlib.sha256(content).hexdigest(),
            inputs=(InputSpec(channels=self.kwargs["channels"], orientation="RAS" if axes > 2 else "PL"[:axes]),),
            output=OutputSpec(kind="image", names=("noise",), units=("logit",), grid="input"),
            trained_on=TrainedOn(n=self.n),
            notes="Logits of the noise that a place bears; it takes the images as the explained network takes them.",
        )
        write_card(card, folder / "card.yaml")
        kept = {k: v for k, v in vars(self).items() if k not in ("unet", "zoo", "kwargs", "settings")}
        write_yaml(folder / "noise.yaml", "noise", {**kept, "settings": asdict(self.settings)})
        return folder


def read_noise_model(folder: str | Path) -> NoiseModel:
    """Read what `NoiseModel.save` wrote; no code of the folder runs.

    Raises
    ------
    FileError
        If a file is missing.
    CardError
        If noise.yaml is not one.
    """
    folder = Path(folder)
    path = folder / "noise.yaml"
    if not path.is_file():
        raise FileError(
            f"{folder}, which is no folder of a noise model", "card.yaml, noise.yaml and weights", "train one"
        )
    try:
        said = read_yaml(path, "noise")
        settings = dict(said["settings"])
        settings["scales"] = tuple(settings["scales"])
        found = {k: v for k, v in said.items() if k not in ("schema", "settings")}
        model = load_model(folder)
        return NoiseModel(
            unet=model.network,  # type: ignore[arg-type]
            zoo=str(model.card.zoo),
            kwargs=dict(model.card.kwargs),
            settings=NoiseSettings(**settings),
            **found,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise CardError(
            f"{path.name} of {folder} ({error})", "what a trained noise model writes", "train it again"
        ) from error

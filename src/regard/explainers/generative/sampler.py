"""Invariances drawn from a trained sampler: latents that the output leaves free, decoded and checked."""

import math
import reprlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from regard.core import randomness
from regard.core.errors import FileError, InputError, ShapeError
from regard.core.rows import counted
from regard.core.spatial import has_space, interpolate, space
from regard.explainers.generative.conditional_inn import ConditionalINN, ConditionEmbedder
from regard.explainers.generative.conditional_vae import ConditionalVAE
from regard.explainers.generative.invariances import Calibration, Invariances, check
from regard.explainers.generative.level_set import onto_level_set
from regard.io.atomic import write_bytes, write_json
from regard.io.guard import parsing, require_file
from regard.io.schema import read_json

__all__ = ["Form", "Sampler", "SamplerSizes", "draw_invariances", "read_sampler", "write_sampler"]

_LARGEST_SIZE = 4096

Function = Callable[[Tensor], Tensor]
Form = Literal["published", "difference"]
"""``"published"``: x~ is what the decoder draws, with what the autoencoder loses. ``"difference"``, ours: x~ is x plus
the difference of two drawings, so that the loss cancels."""


@dataclass(frozen=True)
class SamplerSizes:
    """Sizes of the networks; the defaults are the small variant.

    Parameters
    ----------
    size
        Side of the square patches [pixel].
    n_latent, widths, n_code
        Of the autoencoder.
    n_blocks, width, depth
        Of the invertible network.
    embedded
        Numbers of the embedded condition.
    shown
        Channels of the condition: of the output, or of a layer's activation.
    """

    size: int = 64
    n_latent: int = 64
    widths: tuple[int, ...] = (96, 64, 48, 32)
    n_code: int = 8
    n_blocks: int = 6
    width: int = 256
    depth: int = 1
    embedded: int = 64
    shown: int = 1

    @classmethod
    def of_patch(cls, patch: int) -> "SamplerSizes":
        """Sizes for patches of 8, 16, 32 or 64 pixels; 64 is the small variant.

        Raises
        ------
        InputError
            If the patch is of another size.
        """
        n = {8: 1, 16: 2, 32: 3, 64: 4}.get(patch)
        if n is None:
            raise InputError(f"a sampler of patches of {patch} pixels", "8, 16, 32 or 64")
        return cls(size=patch, n_latent=16 * n, widths=cls.widths[-n:], n_code=2 * n)


class Sampler(nn.Module):
    """Autoencoder, invertible network and what they were standardised with.

    Parameters
    ----------
    sizes
        Of the networks.
    scales
        Mean and standard deviation of the images, then of the outputs, in their units.
    """

    def __init__(self, sizes: SamplerSizes, scales: tuple[float, float, float, float]) -> None:
        super().__init__()
        self.sizes, self.scales = sizes, scales
        self.vae = ConditionalVAE(sizes.size, sizes.n_latent, sizes.widths, sizes.n_code, shown=sizes.shown)
        levels = (16, 32, 64, 64)[: max(1, min(4, sizes.size.bit_length() - 3))]
        self.embedder = ConditionEmbedder(sizes.size, sizes.shown, levels, sizes.embedded)
        self.inn = ConditionalINN(sizes.n_latent, sizes.embedded, sizes.n_blocks, sizes.width, sizes.depth)

    def seen(self, image: Tensor) -> Tensor:
        """An image in its unit, standardised."""
        return (image - self.scales[0]) / self.scales[1]

    def shown(self, output: Tensor) -> Tensor:
        """An output image or value, standardised, as an image of the patch's size."""
        flat = (output - self.scales[2]) / self.scales[3]
        if not has_space(flat):
            return flat.reshape(-1, 1, 1, 1).expand(-1, 1, self.sizes.size, self.sizes.size)
        return interpolate(flat[:, : self.sizes.shown], (self.sizes.size, self.sizes.size))

    def drawn(self, z: Tensor, output: Tensor) -> Tensor:
        """Latents (batch, latent) as images in their unit, given the outputs."""
        return self.vae.decode(z, self.shown(output).expand(len(z), -1, -1, -1)) * self.scales[1] + self.scales[0]


def write_sampler(folder: Path, sampler: Sampler, facts: dict[str, Any]) -> None:
    """Write a sampler: weights, then the record that makes it whole."""
    place = folder / "models" / "sampler"
    tensors = {k: v.detach().cpu().contiguous() for k, v in sampler.state_dict().items()}
    write_bytes(place / "weights.safetensors", save(tensors))
    said = {"sizes": asdict(sampler.sizes), "scales": list(sampler.scales), **facts}
    write_json(place / "sampler.json", "sampler", said)


def read_sampler(
    folder: Path, *, weights_sha256: str | None = None, layer: str | None = None
) -> tuple[Sampler, dict[str, Any]]:
    """Read a sampler that ``regard invariances --fit`` made.

    Raises
    ------
    FileError
        If there is none.
    InputError
        If it was made for another network, or for another layer of it.
    """
    place = Path(folder) / "models" / "sampler"
    if not (place / "sampler.json").exists():
        raise FileError(f"no sampler in '{folder}'", "a folder that `regard invariances --fit` finished", "fit one")
    said = dict(read_json(place / "sampler.json", "sampler"))
    if said.get("weights_sha256") != weights_sha256:
        raise InputError("a sampler that was fitted to other weights", "one of this very network", "fit one with --fit")
    if said.get("layer") != layer:
        raise InputError(
            f"a sampler of {said.get('layer') or 'the output'}", f"one of {layer or 'the output'}", "name its --layer"
        )
    with parsing(place / "sampler.json", "record of a sampler", do="fit one with --fit"):
        if not isinstance(said.get("sizes"), dict):
            raise FileError(
                f"a sampler of sizes {reprlib.repr(said.get('sizes'))}", "sizes by name", "fit one with --fit"
            )
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in said["sizes"].items()}
        sizes = SamplerSizes(**given)
        scales = tuple(float(v) for v in said["scales"])
        _check_sizes(sizes, scales, said)
        with torch.device("meta"):
            expected = Sampler(sizes, scales)  # type: ignore[arg-type]
    path = place / "weights.safetensors"
    require_file(path)
    with parsing(path, "weights of a sampler", do="fit one with --fit"):
        state = load_file(path)
    # Compared before memory is taken for sizes that the record alone asks for.
    shapes = {k: v.shape for k, v in expected.state_dict().items()}
    if {k: v.shape for k, v in state.items()} != shapes:
        raise FileError(f"'{path}', weights of other sizes than the sampler's", "its own", "fit one with --fit")
    sampler = Sampler(sizes, scales)  # type: ignore[arg-type]
    sampler.load_state_dict(state)
    return sampler.eval(), said


def _check_sizes(sizes: SamplerSizes, scales: tuple[float, ...], said: dict[str, Any]) -> None:
    """Refuse sizes that are no sizes, before a network is built of them."""
    numbers = [n for v in asdict(sizes).values() for n in (v if isinstance(v, tuple) else (v,))]
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= _LARGEST_SIZE for n in numbers)
    if not whole or len(scales) != 4 or not all(math.isfinite(v) for v in scales):
        got = f"a sampler of sizes {reprlib.repr(said['sizes'])} and scales {reprlib.repr(said['scales'])}"
        raise FileError(got, f"whole numbers from 1 to {_LARGEST_SIZE}, and four finite numbers", "fit one with --fit")


def draw_invariances(
    sampler: Sampler,
    function: Function,
    image: Tensor,
    calibration: Calibration,
    *,
    n: int = 100,
    tolerance: float | None = None,
    form: Form = "published",
    n_newton: int = 1,
    seed: int = 0,
    case: str = "case",
) -> Invariances:
    """Draw invariances from a sampler, and reject those that the tolerance does not hold for.

    Parameters
    ----------
    sampler
        Fitted to this network.
    function, image, calibration, tolerance
        As `find_invariances`.
    n
        Number of samples, rejected ones included.
    form
        See `Form`.
    n_newton
        Gauss-Newton steps in the latent space towards f(x~) = f(x); 0 leaves the draws as they are.
    seed, case
        Key of the draws.

    Raises
    ------
    ShapeError
        If the image is not of the sampler's size.
    """
    side = sampler.sizes.size
    if space(image) != (side, side):
        raise ShapeError(f"a patch of {space(image)}", f"{side} x {side}, as the sampler's", f"give --patch {side}")
    function = counted(function)
    scalar = calibration.outside is None
    allowed = tolerance if tolerance is not None else (calibration.spread if scalar else 1.0)
    with torch.no_grad():
        output = function(image)
        condition = sampler.embedder(sampler.shown(output))
        own, _ = sampler.vae.encode(sampler.seen(image[:, :1]), sampler.shown(output))
        lost = sampler.drawn(own, output) - image[:, :1]
        v = torch.cat([randomness.normal(own, seed, case, f"latent {k}") for k in range(n)])
        z = sampler.inn.inverse(v, condition.expand(n, -1))

    def made(latents: Tensor) -> Tensor:
        found = sampler.drawn(latents, output)
        found = found - lost if form == "difference" else found
        return found.expand(-1, image.shape[1], -1, -1)

    if n_newton:
        # Coarse outputs are as good a guide as fine ones, and keep the system small.
        def coarse(found: Tensor) -> Tensor:
            return interpolate(found, [max(1, s // 4) for s in space(found)]) if has_space(found) else found

        # No farther than a latent is long.
        reach = sampler.sizes.n_latent**0.5
        z = onto_level_set(lambda one: coarse(function(made(one))), z, coarse(output), n_steps=n_newton, largest=reach)
    with torch.no_grad():
        samples = made(z)
        floor = check(function, image, made(own) if form == "published" else image + lost, calibration, allowed)
    found = check(function, image, samples, calibration, allowed)
    noisiest = float(calibration.structure.max())
    return Invariances(
        image=image,
        output=output,
        samples=samples,
        kinds=tuple("anatomy" if d > noisiest else "noise" for d in found["distance"].tolist()),
        scales=(float("nan"),) * n,
        tolerance=allowed,
        calibration=calibration,
        facts={
            "noise in the output": calibration.spread,
            "most visible blob of noise": noisiest,
            "form": form,
            "floor: what the autoencoder loses, root mean square": float(lost.square().mean().sqrt()),
            "floor: d' of f(VAE(x)) - f(x)": float(floor["d_prime"][0]),
            "share rejected": 1 - float(found["accepted"].double().mean()),
        },
        outputs=found["outputs"],
        distance=found["distance"],
        d_prime=found["d_prime"],
        leakage=found["leakage"],
        accepted=found["accepted"],
    )

"""How a map was made: seed, device, versions and checksums, for sidecars and run files."""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.core.batching import BatchSize
from regard.core.volume import Volume
from regard.models.model import Model

__all__ = ["inputs_sha256", "made", "versions"]


def versions() -> dict[str, str]:
    """Versions of what made a map."""
    return {"regard": version("regard"), "torch": torch.__version__, "python": platform.python_version()}


def inputs_sha256(scans: Mapping[str, Volume]) -> str:
    """Checksum of the intensities and affines of the images of a case."""
    digest = hashlib.sha256()
    for volume in scans.values():
        digest.update(np.ascontiguousarray(volume.tensor.cpu().numpy()).tobytes())
        digest.update(volume.affine.tobytes())
    return digest.hexdigest()


def made(
    model: Model, scans: Mapping[str, Volume], seed: int, batch_size: BatchSize, example: Tensor
) -> dict[str, Any]:
    """How the map was made, for the sidecar."""
    return {
        "seed": seed,
        "batch_size": batch_size,
        "threads": torch.get_num_threads(),
        "device": str(example.device),
        "versions": versions(),
        "weights_sha256": model.weights_sha256,
        "inputs_sha256": inputs_sha256(scans),
    }

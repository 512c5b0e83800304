"""All class activation maps of one pass, against one forward and backward pass and a peer's single Grad-CAM."""

import argparse
import json
from typing import Any

import numpy as np
import torch
from measuring import let_torchvision_import, measured, one_thread
from torch import Tensor, nn

ONE_PASS = ("grad-cam", "grad-cam++", "hires-cam", "layer-cam", "eigen-grad-cam", "random-cam", "grad-ram", "grad-ramp")
WORK = ("passes", "maps", "peer")


def build(size: int) -> tuple[nn.Module, str, Tensor]:
    """A 3D ResNet-18 of MONAI, its last layer with places, and a volume."""
    from monai.networks.nets import resnet18

    network = resnet18(spatial_dims=3, n_input_channels=1, num_classes=1, conv1_t_stride=2).eval()
    return network, "layer4", torch.randn(1, 1, size, size, size)


def passes(network: nn.Module, x: Tensor, *, weights: bool) -> None:
    """One forward and backward pass, to the image alone or to the weights as well."""
    network.requires_grad_(weights)
    x = x.clone().requires_grad_()
    network(x).sum().backward()


def maps(network: nn.Module, layer: str, x: Tensor) -> dict[str, Tensor]:
    """Every map of one pass, on the image's grid."""
    from regard.explainers.cam.recorded import shared_pass
    from regard.explainers.spec import parse_methods

    with shared_pass():
        return {m: parse_methods([m])[0].build(network, layer=layer).attribute(x) for m in ONE_PASS}


def peer(network: nn.Module, layer: str, x: Tensor, sign: float) -> np.ndarray:
    """pytorch-grad-cam's Grad-CAM of the output, or of its negative, between 0 and 1."""
    from pytorch_grad_cam import GradCAM

    with GradCAM(network, [network.get_submodule(layer)]) as cam:
        return cam(x, [lambda output: sign * output.sum()])  # type: ignore[no-any-return]


def main() -> None:
    """Measure one piece of work in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=WORK, required=True)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    one_thread()
    note = let_torchvision_import() if options.work == "peer" else ""
    network, layer, x = build(options.size)
    found: dict[str, Any] = {"note": note}
    with torch.no_grad():
        network(x)
    if options.work == "passes":
        for name, weights in (("to the image", False), ("to image and weights", True)):
            passes(network, x, weights=weights)
            used = [measured(lambda w=weights: passes(network, x, weights=w))[1] for _ in range(options.repeats)]
            found[name] = min(used, key=lambda u: u["cpu"])
    elif options.work == "maps":
        maps(network, layer, x)
        used = [measured(lambda: maps(network, layer, x))[1] for _ in range(options.repeats)]
        found["all"] = min(used, key=lambda u: u["cpu"])
    else:
        ours = maps(network, layer, x)["grad-cam"][0, 0]
        sign = 1.0 if float(ours.max()) > -float(ours.min()) else -1.0
        theirs, _ = measured(lambda: peer(network, layer, x, sign))
        used = [measured(lambda: peer(network, layer, x, sign))[1] for _ in range(options.repeats)]
        found["one"] = min(used, key=lambda u: u["cpu"])
        shown = (sign * ours).clamp(min=0).double().flatten()
        pair = torch.stack([shown, torch.as_tensor(theirs[0]).double().flatten()])
        found["correlation"] = float(torch.corrcoef(pair)[0, 1])
    print(json.dumps(found))


if __name__ == "__main__":
    main()

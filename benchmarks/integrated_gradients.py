"""Integrated gradients, 50 steps from zero: ours, plain and with parts run again, and captum's in several batches."""

import argparse
import json
from typing import Any

import torch
from measuring import measured, one_thread
from torch import Tensor, nn

BATCHES = (1, 2, 5, 10, 25)
WORK = ("ours", "ours, parts run again", "captum, default", *[f"captum, {n} at once" for n in BATCHES])


def build(name: str, size: int) -> nn.Module:
    """SFCN as published, a ResNet-10, a U-Net's mean, or fifteen convolutions of one width, averaged."""
    if name == "sfcn":
        from regard.models.zoo.sfcn import sfcn

        return sfcn().eval().requires_grad_(False)
    if name == "resnet10":
        from monai.networks.nets import resnet10

        return (
            resnet10(spatial_dims=3, n_input_channels=1, num_classes=1, conv1_t_stride=2).eval().requires_grad_(False)
        )
    if name == "unet":
        from monai.networks.nets import UNet

        body = UNet(3, 1, 1, channels=(8, 16, 32, 64), strides=(2, 2, 2), num_res_units=1, norm="batch")
        mean = nn.Sequential(body, nn.AdaptiveAvgPool3d(1), nn.Flatten())
        return mean.eval().requires_grad_(False)
    layers: list[nn.Module] = [nn.Conv3d(1, 16, 3, padding=1)]
    for _ in range(15):
        layers += [nn.ReLU(inplace=True), nn.Conv3d(16, 16, 3, padding=1)]
    layers += [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, 1)]
    return nn.Sequential(*layers).eval().requires_grad_(False)


def attribute(work: str, network: nn.Module, x: Tensor, n_steps: int) -> Tensor:
    """The map (1, 1, \\*space)."""
    if work.startswith("ours"):
        import regard

        checkpoint = "never" if work == "ours" else "always"
        method = regard.IntegratedGradients(network, n_steps=n_steps, checkpoint=checkpoint)
        return method.attribute(x, reference=0.0)  # type: ignore[no-any-return]
    from captum.attr import IntegratedGradients

    at_once = None if work == "captum, default" else int(work.split()[1])
    found = IntegratedGradients(network).attribute(x, 0, target=0, n_steps=n_steps, internal_batch_size=at_once)
    return found  # type: ignore[no-any-return]


def main() -> None:
    """Measure one way in this process; its map lies beside for comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=WORK, required=True)
    parser.add_argument("--network", choices=("sfcn", "deep", "resnet10", "unet"), default="sfcn")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3, help="of which the fastest counts")
    parser.add_argument("--map", required=True, help="file of our map: written by ours, compared with by the others")
    options = parser.parse_args()
    one_thread()
    network = build(options.network, options.size)
    x = torch.randn(1, 1, options.size, options.size, options.size)
    attribute(options.work, network, x[:, :, :32, :32, :32] if options.network == "deep" else x, 2)
    relevance, used = measured(lambda: attribute(options.work, network, x, options.steps))
    for _ in range(options.repeats - 1):
        again = measured(lambda: attribute(options.work, network, x, options.steps))[1]
        used = {**used, "cpu": min(used["cpu"], again["cpu"]), "wall": min(used["wall"], again["wall"])}
    found: dict[str, Any] = dict(used)
    if options.work == "ours":
        torch.save(relevance, options.map)
    else:
        ours = torch.load(options.map, weights_only=True)
        found["off"] = float((relevance.double() - ours.double()).abs().max() / (ours.max() - ours.min()))
    print(json.dumps(found))


if __name__ == "__main__":
    main()

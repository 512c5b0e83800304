"""Deletion curves: the machinery of our faithfulness measures against Quantus' PixelFlipping, the same steps."""

import argparse
import json
from typing import Any

import numpy as np
import torch
from measuring import let_torchvision_import, measured, one_thread
from torch import Tensor, nn

WORK = ("ours", "forward", "Quantus")


def build(name: str, size: int, n_cases: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A 2D regressor, images and maps; maps are noise, so that no two places tie."""
    if name == "small":
        from regard.models.zoo.small import small_regressor as make

        network: nn.Module = make(spatial_dims=2)
    else:
        from monai.networks.nets import resnet18

        network = resnet18(spatial_dims=2, n_input_channels=1, num_classes=1, conv1_t_stride=2)
    draw = torch.Generator().manual_seed(1)
    x = torch.rand(n_cases, 1, size, size, generator=draw) + 0.1
    return network.eval().requires_grad_(False), x, torch.randn(n_cases, 1, size, size, generator=draw)


def ours(network: nn.Module, x: Tensor, relevance: Tensor, features: int) -> Tensor:
    """Output of each case after each step, (case, step): the highest places first, set to 0."""
    from regard.core.quantity import Quantity, Sign
    from regard.core.target import Output
    from regard.evidence.faithfulness.removal import values_without
    from regard.evidence.measure import Exhibit

    curves = []
    for n in range(len(x)):
        exhibit = Exhibit(network, x[n : n + 1], Output(0), relevance[n : n + 1], Quantity.SCORE, Sign.RAISED)
        order = relevance[n].flatten().argsort(descending=True)
        numbers = torch.empty_like(order)
        numbers[order] = torch.arange(len(order)) // features
        steps = int(numbers.max()) + 1
        gone = torch.ones(steps, steps, dtype=torch.bool).tril()
        curves.append(values_without(exhibit, torch.zeros_like(x[:1]), numbers.reshape(x.shape[2:]), gone, "deletion"))
    return torch.stack(curves)


def forward(network: nn.Module, x: Tensor, features: int) -> None:
    """The network alone, as often as a curve asks it, in the batches that ours chooses."""
    from regard.core.batching import auto_batch_size

    steps = -(-x[0].numel() // features)
    at_once = auto_batch_size(x[:1], steps)
    with torch.no_grad():
        for _ in range(len(x)):
            for start in range(0, steps, at_once):
                network(x[:1].expand(min(at_once, steps - start), -1, -1, -1).clone())


def theirs(network: nn.Module, x: Tensor, relevance: Tensor, features: int, batch: int) -> np.ndarray:
    """The same from Quantus, told not to apply a softmax."""
    import quantus

    metric = quantus.PixelFlipping(
        features_in_step=features, perturb_baseline=0.0, normalise=False, disable_warnings=True
    )
    labels = np.zeros(len(x), dtype=int)
    scores = metric(network, x.numpy(), labels, relevance.numpy(), softmax=False, batch_size=batch)
    return np.asarray(scores)


def main() -> None:
    """Measure one way in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=WORK, required=True)
    parser.add_argument("--network", choices=("small", "resnet18"), default="small")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    one_thread()
    note = let_torchvision_import() if options.work == "Quantus" else ""
    network, x, relevance = build(options.network, options.size, options.cases)
    work: Any = {
        "ours": lambda n: ours(network, x[:n], relevance[:n], options.features),
        "forward": lambda n: forward(network, x[:n], options.features),
        "Quantus": lambda n: theirs(network, x[:n], relevance[:n], options.features, options.batch),
    }[options.work]
    work(1)
    curves, used = measured(lambda: work(options.cases))
    found: dict[str, Any] = {**used, "note": note}
    if options.work == "Quantus":
        same = ours(network, x, relevance, options.features).numpy()
        found["off"] = float(np.abs(curves - same).max() / np.ptp(same))
        import quantus

        metric = quantus.PixelFlipping(features_in_step=options.features, disable_warnings=True)
        by_default = np.asarray(metric(network, x[:1].numpy(), np.zeros(1, dtype=int), relevance[:1].numpy()))
        found["constant by default"] = bool((by_default == by_default.flat[0]).all())
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""How exact incremental occlusion is: against the plain loop in float64, and against float64 in float32."""

import argparse
import json

from measuring import one_thread
from occlusion import NETWORKS, build
from torch import Tensor, nn


def effects(network: nn.Module, x: Tensor, window: int, mode: str) -> Tensor:
    """Effects before they are rounded to the float32 of a map."""
    from regard.explainers.perturbation.occlusion import Occlusion

    kept: list[Tensor] = []

    class Kept(Occlusion):
        def _map(self, *arguments):  # type: ignore[no-untyped-def]
            found = super()._map(*arguments)
            kept.append(found[0])
            return found

    Kept(network, window=window, stride=window, filler=0.0, incremental=mode).attribute(x)  # type: ignore[arg-type]
    return kept[0].double()


def main() -> None:
    """Both types, one network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="sfcn")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--window", type=int, default=12)
    options = parser.parse_args()
    one_thread()
    network, x = build(options.network, options.size)
    single = {mode: effects(network, x, options.window, mode) for mode in ("always", "never")}
    network, x = network.double(), x.double()
    exact = {mode: effects(network, x, options.window, mode) for mode in ("always", "never")}
    spread = float(exact["never"].max() - exact["never"].min())

    def off(a: Tensor, b: Tensor) -> float:
        return float((a - b).abs().max()) / spread

    print(
        json.dumps(
            {
                "float64": off(exact["always"], exact["never"]),
                "float32": off(single["always"], exact["never"]),
                "float32, plain loop": off(single["never"], exact["never"]),
            }
        )
    )


if __name__ == "__main__":
    main()

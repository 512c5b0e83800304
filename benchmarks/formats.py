"""Other number formats, memory layouts and compilation: time of a forward pass, and what is left of small effects."""

import argparse
import copy
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from measuring import cpu_seconds, one_thread
from torch import Tensor
from weighing import NETWORKS, build

N_WINDOWS = 6


def fastest(work: Callable[[], Any], repeats: int) -> float:
    """CPU seconds of the fastest of some runs, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        begun = cpu_seconds()
        work()
        times.append(cpu_seconds() - begun)
    return min(times)


def effects(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What filling each of some small windows with the mean does, (window,)."""
    value, found, edge = network(x).double().sum(), [], max(2, x.shape[-1] // 8)
    for n in range(N_WINDOWS):
        hidden = x.clone()
        start = n * (x.shape[-1] - edge) // (N_WINDOWS - 1)
        hidden[(..., *[slice(start, start + edge)] * (x.ndim - 2))] = x.mean()
        found.append(value - network(hidden).double().sum())
    return torch.stack(found)


def main() -> None:
    """Each form beside the plain one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="sfcn")
    parser.add_argument("--size", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    one_thread()
    network, x = build(options.network, options.size)
    layout = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    laid, half = copy.deepcopy(network).to(memory_format=layout), copy.deepcopy(network).bfloat16()  # type: ignore[call-overload]
    forms: dict[str, Callable[[Tensor], Tensor]] = {
        "plain": network,
        "bfloat16": lambda y: half(y.bfloat16()).float(),
        "channels last": lambda y: laid(y.to(memory_format=layout)),
    }
    with torch.no_grad():
        exact = effects(network.double(), x.double())
        network.float()
        found: dict[str, Any] = {}
        plain = fastest(lambda: network(x), options.repeats)
        for name, form in forms.items():
            off = (effects(form, x) - exact).abs().max() / exact.abs().max()
            found[name] = {"ratio": fastest(lambda f=form: f(x), options.repeats) / plain, "effects off by": float(off)}
        begun = time.perf_counter()
        compiled = torch.compile(network)
        try:
            first = fastest(lambda: compiled(x), options.repeats)
        except Exception as error:
            found["compiled"] = {"failed": str(error).splitlines()[0][:120]}
        else:
            found["compiled"] = {"ratio": first / plain, "seconds to compile": time.perf_counter() - begun}
    print(json.dumps({"network": options.network, "shape": list(x.shape), "seconds": plain, **found}))


if __name__ == "__main__":
    main()

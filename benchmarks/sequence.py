"""A deletion curve step by step against whole passes, alone and in pairs: CPU time of a step, and its exactness."""

import argparse
import json
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from measuring import cpu_seconds, one_thread
from torch import Tensor
from weighing import NETWORKS, build


def main() -> None:
    """One network, one cut, one order of the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="sfcn")
    parser.add_argument("--size", type=int)
    parser.add_argument("--parts", type=int, default=256)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--whole", type=int, default=12, help="steps that are also made by whole passes")
    options = parser.parse_args()
    one_thread()
    from scipy import ndimage

    from regard.core.explainer import Query
    from regard.core.inputs import Inputs
    from regard.core.target import Output
    from regard.evidence.faithfulness.removal import blocks
    from regard.explainers.perturbation.incremental import sequence

    sequence._LEAST = 0.0  # measured also where it is not taken
    network, x = build(options.network, options.size)
    query = Query(network, Inputs.of(x), Output(0))
    numbers = blocks(x.shape[2:], options.parts)
    boxes = ndimage.find_objects(numbers.numpy() + 1)
    order = np.random.default_rng(0).permutation(len(boxes))
    cuts = np.linspace(0, len(boxes), options.steps + 1).round().astype(int)
    steps = [[boxes[k] for k in order[a:b]] for a, b in pairwise(cuts)]

    def filled(now: Tensor, step: list[Any]) -> Tensor:
        for box in step:
            now[(slice(None), slice(None), *box)] = 0.0
        return now

    with torch.no_grad():
        walk = sequence.prepare_walk(query, steps, float(query.value(network(x), 1)))
        found: dict[str, Any] = {"network": options.network, "shape": list(x.shape), "parts": len(boxes)}
        if walk is None:
            print(json.dumps({**found, "taken": "the network cannot be followed"}))
            return
        walk.begin()
        now, along, begun = x.clone(), [], cpu_seconds()
        for step in steps:
            along.append(float(query.value(walk.move(filled(now, step), step), 1)))
        each = (cpu_seconds() - begun) / len(steps)
        now, whole, begun = x.clone(), [], cpu_seconds()
        for step in steps[: options.whole]:
            whole.append(float(query.value(network(filled(now, step)), 1)))
        plain = (cpu_seconds() - begun) / len(whole)
        pair, begun = torch.cat([now, now]), cpu_seconds()
        for _ in range(options.whole // 2):
            network(pair)
        paired = (cpu_seconds() - begun) / (options.whole // 2 * 2)
    fewer = len(steps) * walk.program.flops / sum(walk.operations(step) for step in steps)
    off = max(abs(a - b) for a, b in zip(along, whole, strict=False)) / (max(along) - min(along))
    found |= {"step [ms]": 1e3 * each, "whole pass [ms]": 1e3 * plain, "whole pass in a pair [ms]": 1e3 * paired}
    found |= {"times faster": min(plain, paired) / each, "fewer operations": fewer, "off by share of range": off}
    print(json.dumps(found | {"taken": fewer >= 2.0}))


if __name__ == "__main__":
    main()

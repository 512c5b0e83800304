"""Region tests by exchange: CPU time of 5,000 draws against the number of cases."""

import argparse
import json

import numpy as np
from measuring import measured, one_thread


def main() -> None:
    """Measure at each number of cases in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, nargs="+", default=[100, 400, 1600])
    parser.add_argument("--regions", type=int, default=32)
    parser.add_argument("--draws", type=int, default=5000)
    options = parser.parse_args()
    one_thread()
    from regard.cohort.permutation import freedman_lane

    found = {}
    for n in options.cases:
        draw = np.random.default_rng(0)
        values, age = draw.normal(size=(n, options.regions)), draw.normal(size=n)
        _, used = measured(
            lambda v=values, a=age, n=n: freedman_lane(
                v, a, np.random.default_rng(1).normal(size=(n, 1)), n_draws=options.draws
            )
        )
        found[str(n)] = used["cpu"]
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""What the tests between runs can find: their power by seeds, number of pairs and size of the difference.

Two runs whose trainings are normal with equal standard deviations, `difference` of them apart; a pair counts as found
when its p-value is below 0.05 / `pairs`, Holm's first step. `power` is exact: the probability that a noncentral t with
2 (seeds - 1) degrees of freedom exceeds Student's quantile with seeds - 1. `simulated` is what
`vaebench.results.pairwise` found in simulated studies. Prints one table and writes one CSV; docs/metrics.md and a test
read it.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from runs import write_rows
from scipy.special import chdtri, ndtr

from vaebench.results.pairwise import Trainings, compare
from vaebench.results.statistics import student

SEEDS = (2, 3, 5, 10)
PAIRS = {1: "the best of any number of runs against one other", 15: "6 runs", 55: "11 runs", 300: "25 runs"}
DIFFERENCES = (1, 2, 3, 5, 10, 20, 50)
ALPHA = 0.05
METRIC = "mse"
GRID = 100_000  # quantiles of χ² that the power is averaged over


def main() -> None:
    """Print and write the power of every combination."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies of each kind")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "power.csv")
    arguments = parser.parse_args()
    rows = []
    for seeds in SEEDS:
        for difference in DIFFERENCES:
            p_values = simulated(seeds, difference, arguments.studies)
            for pairs in PAIRS:
                rows.append(
                    {
                        "seeds": seeds,
                        "pairs": pairs,
                        "difference": difference,
                        "power": round(exact(seeds, pairs, difference), 4),
                        "simulated": round(float((p_values < ALPHA / pairs).mean()), 4),
                        "studies": arguments.studies,
                    }
                )
    write_rows(rows, arguments.output)
    for pairs, meaning in PAIRS.items():
        print(f"{pairs} pairs ({meaning}), power at a difference of {DIFFERENCES} standard deviations of a training")
        for seeds in SEEDS:
            own = [row["power"] for row in rows if (row["seeds"], row["pairs"]) == (seeds, pairs)]
            print(f"  {seeds:2} seeds: " + "  ".join(f"{100 * power:3.0f} %" for power in own))


def exact(seeds: int, pairs: int, difference: float) -> float:
    """The probability that a difference, in standard deviations of a training, passes 0.05 / pairs."""
    limit, shift = student(seeds - 1, ALPHA / pairs), difference / math.sqrt(2 / seeds)
    freedom = 2 * (seeds - 1)
    spread = np.sqrt(chdtri(freedom, (np.arange(GRID) + 0.5) / GRID) / freedom)
    return float((ndtr(shift - limit * spread) + ndtr(-shift - limit * spread)).mean())


def simulated(seeds: int, difference: float, studies: int) -> np.ndarray:
    """The p-values of simulated studies of two runs."""
    random = np.random.default_rng([seeds, int(difference)])
    found = []
    for _ in range(studies):
        a, b = random.normal(size=(2, seeds))
        pair = (Trainings(name, x, math.nan, 0, None) for name, x in (("a", a), ("b", b + difference)))
        found.append(compare(METRIC, *pair, 1 - ALPHA)["p_value"])
    return np.array(found)


if __name__ == "__main__":
    main()

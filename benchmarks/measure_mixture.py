"""What the sampler `gaussian_mixture` costs at CelebA's size: 162,770 latents of 64 dimensions, 10 components.

The latents are what a random network makes of normal noise: curved, so that the components have something to fit.
Prints the seconds of fitting, of 10,000 draws, and how many rounds of expectation and maximisation there were.

    OMP_NUM_THREADS=2 python benchmarks/measure_mixture.py
"""

import os
import time

import numpy as np

from vaebench.sampling.gaussian_mixture import fit_mixture

IMAGES, DIMENSIONS, COMPONENTS, DRAWS, SEEDS = 162_770, 64, 10, 10_000, 3


def curved(seed: int) -> np.ndarray:
    """Latents (IMAGES, DIMENSIONS) float64: a random layer of tanh over half as many dimensions, and noise."""
    random = np.random.default_rng(seed)
    inner = random.standard_normal((IMAGES, DIMENSIONS // 2)) @ random.standard_normal((DIMENSIONS // 2, DIMENSIONS))
    outer = np.tanh(inner) @ random.standard_normal((DIMENSIONS, DIMENSIONS)) / DIMENSIONS**0.5
    return outer + 0.3 * random.standard_normal((IMAGES, DIMENSIONS))


def main() -> None:
    """One line a seed."""
    for seed in range(SEEDS):
        latents = curved(seed)
        started, processor = time.perf_counter(), time.process_time()
        mixture = fit_mixture(latents, COMPONENTS, seed)
        fitted = time.perf_counter()
        mixture.sample(DRAWS)
        drawn = time.perf_counter()
        print(
            f"seed {seed}: fitting {fitted - started:.1f} s (processor {time.process_time() - processor:.1f} s), "
            f"{mixture.n_iter_} rounds, {DRAWS:,} draws {drawn - fitted:.2f} s, load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

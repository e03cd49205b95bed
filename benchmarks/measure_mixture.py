"""What 10,000 images drawn by the sampler `gaussian_mixture` cost at CelebA's size, as the shipped studies draw them.

That is: encode the training images that the mixture is fitted to and the held-out ones, fit 10 components to latents of
64 dimensions, draw, and decode 10,000 images of 64x64. The latents that are fitted are what a random network makes of
normal noise: curved, so that the components have something to fit. Images are coded and decoded by untrained networks,
which take as long as trained ones, for part of the images, and the seconds scaled to all. Prints seconds, rounds of
expectation and maximisation, and the mean ln p of latents that the mixture was not fitted to.

    python benchmarks/measure_mixture.py [--threads 2] [--fit-images 20000] [--nets compact resnet]
"""

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
import torch
from runs import specification
from threadpoolctl import threadpool_limits

from vaebench.models.batches import aligned_rows, prepare_torch, to_bytes
from vaebench.models.building import build_model
from vaebench.models.inference import decode, latents_of
from vaebench.models.sampler_options import defaults_of
from vaebench.sampling.gaussian_mixture import fit_mixture

HELD_OUT, DIMENSIONS, DRAWS, SEEDS = 39_829, 64, 10_000, 3  # CelebA's eval and test split
CODED = {"resnet": 512, "convnet": 128}  # images that are coded and decoded, in place of 2,048


def curved(seed: int, count: int) -> np.ndarray:
    """Latents (count, DIMENSIONS) float64: a random layer of tanh over half as many dimensions, and noise."""
    random = np.random.default_rng(seed)
    inner = random.standard_normal((count, DIMENSIONS // 2)) @ random.standard_normal((DIMENSIONS // 2, DIMENSIONS))
    outer = np.tanh(inner) @ random.standard_normal((DIMENSIONS, DIMENSIONS)) / DIMENSIONS**0.5
    return outer + 0.3 * random.standard_normal((count, DIMENSIONS))


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Of the clock and of all processors."""
    started, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - processor


def measure_fit(count: int, seed: int) -> str:
    """Fit `count` latents, draw, and say what it took."""
    latents, found = curved(seed, count + DRAWS), []
    components = defaults_of("gaussian_mixture")["n_components"]
    clock, processor = seconds(lambda: found.append(fit_mixture(latents[:count], components, seed)))
    drawn, _ = seconds(lambda: found[0].sample(DRAWS))
    return (
        f"seed {seed}: fitting {count:,} latents {clock:.1f} s (processor {processor:.1f} s), {found[0].n_iter_} rounds"
        f", held-out ln p {found[0].score(latents[count:]):.2f} nats, {DRAWS:,} draws {drawn:.2f} s"
    )


def measure_network(nets: str, fitted: int) -> str:
    """Code and decode with a VAE of these networks, and say what all images would take."""
    model = build_model(specification("VAE", nets, nets, 256), (3, 64, 64)).eval()
    count = CODED.get(nets, 2048)
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 64, 64), dtype=np.uint8)
    latents = torch.randn(count, DIMENSIONS)

    def decode_all() -> None:
        for z, _ in aligned_rows(latents, 128):
            to_bytes(decode(model, z))

    latents_of(model, images)  # the first time takes longer
    decode_all()
    coding, decoding = (np.array(seconds(work)) / count for work in (lambda: latents_of(model, images), decode_all))
    parts = {f"{fitted:,} fitted": coding * fitted, f"{HELD_OUT:,} held-out": coding * HELD_OUT}
    told = [f"{name} images coded {clock:.1f} s (processor {cpu:.1f} s)" for name, (clock, cpu) in parts.items()]
    clock, cpu = decoding * DRAWS
    return f"{nets}: {', '.join(told)}, {DRAWS:,} decoded {clock:.1f} s (processor {cpu:.1f} s)"


def main() -> None:
    """One line a seed, and one for each kind of networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fit-images", type=int, default=defaults_of("gaussian_mixture")["fit_images"])
    parser.add_argument("--nets", nargs="*", default=["compact", "resnet"])
    given = parser.parse_args()
    prepare_torch(given.threads, "cpu")
    with threadpool_limits(given.threads):
        for seed in range(SEEDS):
            print(measure_fit(given.fit_images, seed), flush=True)
        for nets in given.nets:
            print(measure_network(nets, given.fit_images), flush=True)
    print(f"{given.threads} threads, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

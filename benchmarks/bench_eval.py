"""Speed of all per-image metrics against a bare LPIPS loop, the plain script way, and torchmetrics; and memory.

`python benchmarks/bench_eval.py` prints one table and writes one CSV. The ways take turns, round by round, on the same
pairs of 64x64 images, so that a busy machine slows all of them; ratios are taken within a round.

- limit: the lpips package's VGG network, built once, on batches of pairs, nothing else.
- ours: every per-image metric and the VGG features of the Fréchet distance, in one pass.
- ours without VGG: the same without any network.
- plain: the original study's evaluator: the LPIPS network built anew for every batch of 64, batch means by `.item()`.
- torchmetrics: MSE, SSIM and LPIPS modules, updated batch by batch (it has no GMSD and no per-image BCE).
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RATIOS = (
    ("ours / limit", "ours", "limit", "pairs/s, at least 0.90"),
    ("ours / plain", "ours", "plain", "pairs/s, more than 1"),
    ("ours / torchmetrics", "ours", "torchmetrics", "pairs/s, more than 1"),
    ("other metrics / limit", "limit", "ours without VGG", "time, at most 0.15"),
)


def main() -> None:
    """Measure the ways in turn, then the memory; print the table and write the CSV."""
    options = read_options()
    if options.memory:
        print(json.dumps({"peak_rss_mb": stream(options.memory, options.threads)}))
        return
    from vaebench.models.batches import prepare_torch

    device = prepare_torch(options.threads, "auto")  # all ways in strict float32, as the pipeline measures
    x, y = pairs(options.pairs)
    ways = make_ways(device, options.batch)
    rows = []
    for run in ways.values():
        timed(run, x[: options.batch], y[: options.batch])  # warm up
    for number in range(options.rounds):
        for way, run in ways.items():
            seconds = timed(run, x, y)
            rows.append({"round": number, "way": way, "pairs": len(x), "seconds": round(seconds, 4)})
            print(f"round {number}: {way}: {len(x) / seconds:.1f} pairs/s", flush=True)
    report(rows)
    memory = {count: peak_memory(count, options.threads) for count in options.memory_counts}
    print("\npeak RSS of the streaming pass, MB: " + ", ".join(f"{n:,} images {mb:,.0f}" for n, mb in memory.items()))
    write_csv(rows, memory, options, device)


def make_ways(device: str, batch: int) -> dict:
    """Each way as a function of two tensors."""
    import lpips
    import piq
    import torch
    from torch.nn import functional
    from torchmetrics import MeanSquaredError
    from torchmetrics.image import StructuralSimilarityIndexMeasure

    from vaebench.metrics.pairs import PairMetrics

    state = torch.load(weights()["vgg16"], weights_only=True)

    def lpips_network() -> torch.nn.Module:
        network = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
        return fill(network, state).eval().to(device)

    full = PairMetrics((3, 64, 64), ["vgg"], ["vgg16"], weights(), device)
    small = PairMetrics((3, 64, 64), [], [], {}, device)
    network = lpips_network()
    modules = (
        MeanSquaredError().to(device),
        StructuralSimilarityIndexMeasure(data_range=1.0).to(device),
        torchmetrics_lpips(state).to(device),
    )

    def limit(x: torch.Tensor, y: torch.Tensor) -> None:
        for a, b in zip(x.split(batch), y.split(batch), strict=True):
            network(2 * a.to(device) - 1, 2 * b.to(device) - 1).cpu()

    def ours(x: torch.Tensor, y: torch.Tensor, metrics: PairMetrics = full) -> None:
        for a, b in zip(x.split(128), y.split(128), strict=True):
            {name: value.cpu() for name, value in metrics(a.to(device), b.to(device)).values.items()}

    def plain(x: torch.Tensor, y: torch.Tensor) -> None:
        for a, b in zip(x.split(64), y.split(64), strict=True):
            a, b = a.to(device), b.to(device)
            functional.mse_loss(b, a).item()
            functional.binary_cross_entropy(b, a).item()
            lpips_network()(a, b).mean().item()
            piq.ssim(b, a, data_range=1.0).item()
            piq.gmsd(b, a, data_range=1.0).item()

    def with_torchmetrics(x: torch.Tensor, y: torch.Tensor) -> None:
        for module in modules:
            module.reset()
        for a, b in zip(x.split(batch), y.split(batch), strict=True):
            for module in modules:
                module.update(b.to(device), a.to(device))
        for module in modules:
            module.compute().item()

    return {
        "limit": limit,
        "ours": ours,
        "ours without VGG": lambda x, y: ours(x, y, small),
        "plain": plain,
        "torchmetrics": with_torchmetrics,
    }


def torchmetrics_lpips(state: dict) -> object:
    """torchmetrics' LPIPS module around its own network, built without the download and filled with our weights."""
    from unittest.mock import patch

    from torchmetrics.functional.image.lpips import _LPIPS
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    with patch("torchmetrics.image.lpip._NoTrainLpips", lambda net: _LPIPS(net=net, pnet_rand=True).eval()):
        module = LearnedPerceptualImagePatchSimilarity("vgg", normalize=True)
    fill(module.net, state)
    return module


def fill(network: object, state: dict) -> object:
    """Put the trunk's weights into an lpips network that was built without them."""
    import torch

    convolutions = [module for module in network.net.modules() if isinstance(module, torch.nn.Conv2d)]
    names = [
        name.removesuffix(".weight") for name in state if name.startswith("features.") and name.endswith(".weight")
    ]
    for convolution, name in zip(convolutions, names, strict=True):
        convolution.load_state_dict({part: state[f"{name}.{part}"] for part in ("weight", "bias")})
    return network


def pairs(count: int) -> tuple:
    """Blurred random images and noisy copies, float32 (count, 3, 64, 64); their content does not matter."""
    import torch

    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    x = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 1)
    return x, (x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(0, 1)


def weights() -> dict[str, Path]:
    """The pipeline's weights, which `make bench-eval` makes first."""
    return {name: ROOT / f"data/weights/{name}.pt" for name in ("vgg16", "alexnet")}


def timed(run: object, x: object, y: object) -> float:
    """Seconds of one call, with the GPU's queue emptied."""
    import torch

    start = time.perf_counter()
    with torch.inference_mode():
        run(x, y)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def report(rows: list[dict]) -> None:
    """Print pairs/s of each way and the ratios: median and range over the rounds."""
    speeds: dict[str, list[float]] = {}
    for row in rows:
        speeds.setdefault(row["way"], []).append(row["pairs"] / row["seconds"])
    print(f"\n{'way':24}{'pairs/s':>10}   range")
    for way, found in speeds.items():
        print(f"{way:24}{statistics.median(found):>10.2f}   {min(found):.2f} to {max(found):.2f}")
    print(f"\n{'ratio':24}{'median':>10}   range            target")
    for label, first, second, target in RATIOS:
        found = [a / b for a, b in zip(speeds[first], speeds[second], strict=True)]
        print(f"{label:24}{statistics.median(found):>10.3f}   {min(found):.3f} to {max(found):.3f}   {target}")
    share = statistics.median(a / b for a, b in zip(speeds["ours"], speeds["limit"], strict=True))
    print(f"share of our time that a bare LPIPS-VGG loop takes: {share:.1%}")


def peak_memory(count: int, threads: int) -> float:
    """Peak RSS in MB of a fresh process that streams `count` images from disk-like storage through the metrics."""
    command = [sys.executable, __file__, "--memory", str(count), "--threads", str(threads)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["peak_rss_mb"]


def stream(count: int, threads: int) -> float:
    """Compare `count` repeated images in batches with the cheaper trunk; only per-image scalars are kept."""
    import resource

    import torch

    from vaebench.metrics.pairs import PairMetrics

    torch.set_num_threads(threads)
    x, y = pairs(128)
    metrics = PairMetrics((3, 64, 64), ["alex"], ["alexnet"], weights())
    kept: dict[str, list] = {}
    for start in range(0, count, 128):
        for name, values in metrics(x[: count - start], y[: count - start]).values.items():
            kept.setdefault(name, []).append(values.numpy())
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def write_csv(rows: list[dict], memory: dict[int, float], options: argparse.Namespace, device: str) -> None:
    """One row per round and way, then one per memory measurement."""
    import torch

    machine = {"threads": options.threads, "device": device, "cpu": platform.processor(), "torch": torch.__version__}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    columns = ["round", "way", "pairs", "seconds", "peak_rss_mb", *machine]
    with open(options.output, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(row | machine for row in rows)
        writer.writerows({"way": "memory", "pairs": n, "peak_rss_mb": mb} | machine for n, mb in memory.items())
    print(f"wrote {options.output}")


def read_options() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=128, help="pairs per way and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64, help="pairs per batch of the bare loop and of torchmetrics")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--memory-counts", type=int, nargs="*", default=[1000, 8000])
    parser.add_argument("--memory", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/eval.csv")
    return parser.parse_args()


if __name__ == "__main__":
    main()

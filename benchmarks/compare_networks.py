"""Distortion against training time of the demo's FSQ with several families of networks, on two grids of codes.

Each is trained once for each budget on the demo's faces, of as many epochs as fit into it by the time that one takes,
by processor time of one thread. Measured are MSE and LPIPS (AlexNet) of the test images. Prints a line for each and
writes a CSV.
"""

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from bench_quality import Images, reconstruction_errors, row, trained
from runs import evaluation_images, file_of_demo, write_rows

from vaebench.config.plan import read_config
from vaebench.config.runs import expand_runs
from vaebench.metrics.perceptual import Perceptual


def main() -> None:
    """Train, measure, write."""
    options = parse()
    torch.set_num_threads(options.threads)
    images = Images(
        options.data, evaluation_images(options.data / "test_data.npz"), Perceptual("alex", options.alexnet)
    )
    fsq = expand_runs(read_config([Path("config/config.yaml"), Path("config/demo.yaml")]))["fsq"]
    rows = []
    for stride, family in product(options.downsampling, options.networks):
        nets = fsq.nets | dict.fromkeys(("encoder", "decoder"), family)
        spec = replace(fsq, nets=nets, config=dict(fsq.config) | {"downsampling": stride})
        epoch, _ = trained(spec, 1, images, options)
        for seconds in options.seconds:
            spent, model = trained(spec, max(1, round(seconds / epoch)), images, options)
            name = f"FSQ {family}, downsampling {stride}"
            rows.append(row(name, spent, reconstruction_errors(model, images)))
    write_rows(rows, options.output)


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["compact", "lapped"])
    parser.add_argument("--downsampling", type=int, nargs="+", default=[8, 4], help="8: a grid of 8x8 codes, 4: 16x16")
    parser.add_argument("--data", type=Path, default=Path("data/demo"), help="folder of train, eval and test npz")
    parser.add_argument("--alexnet", type=file_of_demo, default="data/weights/alexnet.pt")
    parser.add_argument("--seconds", type=float, nargs="+", default=[20, 40, 80])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/networks.csv"))
    return parser.parse_args()


if __name__ == "__main__":
    main()

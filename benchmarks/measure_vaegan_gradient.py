"""What mending VAEGAN's decoder gradient changes: the same training with `gradients: exact` and `pythae`, some seeds.

Prints one table and writes one CSV: LPIPS and MSE of reconstructions of held-out images, kernel distance (KID, on
AlexNet's last features) between images drawn from the prior and held-out ones. docs/vaegan-gradient.md reads it.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from runs import evaluation_images, file_of_demo, specification, trained, with_training, write_rows

from vaebench.metrics.distribution import kernel_distance
from vaebench.metrics.perceptual import Perceptual, pooled
from vaebench.models.inference import decode, reconstruct

FIELDS = {"latent_dim": 32, "reconstruction_layer": 1, "equilibrium": 0.68, "margin": 0.4}


def main() -> None:
    """Train and measure every combination of gradient mode and seed."""
    arguments = parse()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            measure(arguments, gradients, seed, Path(folder) / f"{gradients}{seed}")
            for seed in range(arguments.seeds)
            for gradients in ("exact", "pythae")
        ]
    write_rows(rows, arguments.output)
    for metric in ("mse", "lpips_alex", "kid_alexnet"):
        values = {
            mode: np.array([row[metric] for row in rows if row["gradients"] == mode]) for mode in ("exact", "pythae")
        }
        change = values["exact"] - values["pythae"]
        summary = ", ".join(f"{mode} {v.mean():.5f} ± {v.std(ddof=1):.5f}" for mode, v in values.items())
        print(f"{metric:12} {summary}; exact - pythae {change.mean():+.5f} ± {change.std(ddof=1):.5f} over seeds")


def measure(arguments: argparse.Namespace, gradients: str, seed: int, folder: Path) -> dict:
    """Train one VAEGAN and measure it on the validation images."""
    spec = specification("VAEGAN", "compact", "compact", 64)
    spec = replace(spec, config=FIELDS | {"adversarial_loss_scale": arguments.scale})
    spec = with_training(spec, epochs=arguments.epochs, learning_rate=2e-3, select="last", gradients=gradients)
    spec = with_training(spec, components={"discriminator": {"learning_rate": 5e-4}})
    model = trained(spec, seed, arguments.train, arguments.images, arguments.eval, folder)
    lpips = Perceptual("alex", arguments.weights).eval()
    real = evaluation_images(arguments.eval)
    with torch.no_grad():
        again = reconstruct(model, real)
        drawn = decode(model, torch.randn(len(real), 32, generator=torch.Generator().manual_seed(seed)))
        features = {name: lpips.features(x) for name, x in (("real", real), ("again", again), ("drawn", drawn))}
    row = {
        "gradients": gradients,
        "seed": seed,
        "mse": float((again - real).square().double().mean()),
        "lpips_alex": float(lpips.distance(features["real"], features["again"]).mean()),
        "kid_alexnet": kernel_distance(pooled(features["drawn"]).numpy(), pooled(features["real"]).numpy()),
    }
    print(row, flush=True)
    return row


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=file_of_demo, default="data/demo/train_data.npz")
    parser.add_argument("--eval", type=file_of_demo, default="data/demo/eval_data.npz")
    parser.add_argument("--weights", type=file_of_demo, default="data/weights/alexnet.pt")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/vaegan_gradient.csv"))
    parser.add_argument("--images", type=int, default=2400, help="training images")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=0.8, help="adversarial_loss_scale")
    return parser.parse_args()


if __name__ == "__main__":
    main()

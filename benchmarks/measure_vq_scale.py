"""How the scale of VQVAE's quantisation term changes the result: `vq_scale: mean` of pythae 0.1.2, or `per_image`.

Prints one table and writes one CSV: validation MSE, and the codes in use on the validation images (their number and the
exponential of their entropy), for both kinds of codebook. docs/adding-a-model.md reads it.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from runs import evaluation_images, file_of_demo, specification, trained, with_training, write_rows

from vaebench.models.inference import encode, reconstruct


def main() -> None:
    """Train and measure every combination."""
    arguments = parse()
    rows = []
    for use_ema in (True, False):
        for scale in ("mean", "per_image"):
            for seed in range(arguments.seeds):
                with tempfile.TemporaryDirectory() as folder:
                    rows.append(measure(arguments, use_ema, scale, seed, Path(folder)))
                print(rows[-1], flush=True)
    write_rows(rows, arguments.output)


def measure(arguments: argparse.Namespace, use_ema: bool, scale: str, seed: int, folder: Path) -> dict:
    """Train one VQVAE of compact networks and look at its codes."""
    spec = specification("VQVAE", "compact", "compact", 64)
    spec = replace(spec, config={"latent_dim": 32, "num_embeddings": 256, "use_ema": use_ema})
    spec = with_training(spec, epochs=arguments.epochs, learning_rate=3e-3, vq_scale=scale)
    model = trained(spec, seed, arguments.train, arguments.images, arguments.eval, folder)
    x = evaluation_images(arguments.eval)
    with torch.no_grad():
        mse = float((reconstruct(model, x) - x).square().double().mean())
        use = torch.bincount(encode(model, x).codes.flatten(), minlength=256).double()
    share = use[use > 0] / use.sum()
    return {
        "use_ema": use_ema,
        "vq_scale": scale,
        "seed": seed,
        "mse": mse,
        "codes_used": int((use > 0).sum()),
        "codebook_perplexity": float(torch.exp(-(share * share.log()).sum())),
    }


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=file_of_demo, default="data/demo/train_data.npz")
    parser.add_argument("--eval", type=file_of_demo, default="data/demo/eval_data.npz")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/vq_scale.csv"))
    parser.add_argument("--images", type=int, default=2400, help="training images")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()

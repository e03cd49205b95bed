"""The largest difference of each metric to a published implementation, on the same images or features.

`python benchmarks/compare_references.py` prints the table of docs/comparability.md. LPIPS takes the weights that
`make bench-eval` keeps in data/weights; prdc and clean-fid are no dependencies of this project, and left out where they
are not installed. DISTS is not compared here: its packages fetch their weights.
"""

from importlib.util import find_spec
from pathlib import Path

import lpips
import numpy as np
import piq
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from vaebench.metrics import distribution, reconstruction
from vaebench.metrics.features.extractors import AntialiasedInception
from vaebench.metrics.perceptual import Perceptual

WEIGHTS = {"alex": Path("data/weights/alexnet.pt"), "vgg": Path("data/weights/vgg16.pt")}
NEIGHBOURS = 5
SIZES = ((28, 28), (64, 64), (178, 218), (300, 200), (299, 299), (400, 310))


def main() -> None:
    """Print a row for each metric and reference."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(64, 64))
    real = random.normal(size=(2500, 64)) @ mixing
    fake = 0.8 * random.normal(size=(2000, 64)) @ mixing + 0.3
    images = torch.from_numpy(random.random((16, 3, 64, 64), np.float32))
    others = (images + 0.1 * torch.from_numpy(random.standard_normal((16, 3, 64, 64)).astype(np.float32))).clamp(0, 1)
    print("| metric | reference | ours | theirs | relative difference |")
    print("| --- | --- | --- | --- | --- |")
    for metric, reference, ours, theirs in [*of_sets(fake, real), *of_pairs(images, others)]:
        ours, theirs = np.atleast_1d(ours), np.atleast_1d(theirs)
        difference = float(np.max(np.abs(ours - theirs) / np.abs(theirs)))
        print(f"| {metric} | {reference} | {ours.mean():.7g} | {theirs.mean():.7g} | {difference:.1g} |")
    for size, largest in of_resizes().items():
        print(f"resize of {size} to 299 pixels, clean-fid: {largest:.1g} of 255 levels")


def of_sets(fake: np.ndarray, real: np.ndarray) -> list[tuple[str, str, float, float]]:
    """Metric, reference, our value and theirs, of two sets of features."""
    tensors = torch.from_numpy(fake), torch.from_numpy(real)
    frechet = distribution.frechet_distance(fake, real)[0]
    statistics = [fid_features_to_statistics(features) for features in tensors]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    moments = [
        part for rows in (fake, real) for part in (torch.from_numpy(rows.mean(0)), torch.from_numpy(np.cov(rows.T)))
    ]
    rows = [("Fréchet distance", "torch-fidelity", frechet, float(theirs))]
    rows.append(("Fréchet distance", "torchmetrics", frechet, _compute_fid(*moments).item()))
    kernel = kid_features_to_metric(*tensors, kid_subset_size=1000, verbose=False)["kernel_inception_distance_mean"]
    rows.append(("kernel distance", "torch-fidelity", distribution.kernel_distance(fake, real)[0], float(kernel)))
    equal = poly_mmd(torch.from_numpy(real[:900]), torch.from_numpy(fake[:900])).item()
    ours = distribution.kernel_distance(fake[:900], real[:900])[0]
    rows.append(("kernel distance, whole sets", "torchmetrics", ours, equal))
    manifold = {name: value for name, (value, _) in distribution.manifold_metrics(fake, real, NEIGHBOURS).items()}
    found = prc_features_to_metric(*tensors, prc_neighborhood=NEIGHBOURS, prc_batch_size=1000, verbose=False)
    rows += [(name, "torch-fidelity", manifold[name], float(found[name])) for name in ("precision", "recall")]
    if find_spec("prdc"):
        from prdc import compute_prdc

        found = compute_prdc(real, fake, NEIGHBOURS)
        rows += [(name, "prdc", value, float(found[name])) for name, value in manifold.items()]
    return rows


def of_pairs(x: torch.Tensor, y: torch.Tensor) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """The same of pairs of images, a value for each pair."""
    pairs = list(zip(x.numpy(), y.numpy(), strict=True))
    psnr = np.array([peak_signal_noise_ratio(a, b) for a, b in pairs])
    wang = {
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "data_range": 1.0,
        "channel_axis": 0,
    }
    whole = [structural_similarity(a, b, full=True, **wang)[1] for a, b in pairs]
    ssim = np.array([image[:, 5:-5, 5:-5].mean() for image in whole])
    rows = [
        ("PSNR", "scikit-image", reconstruction.psnr(x, y).numpy(), psnr),
        ("SSIM", "piq", reconstruction.ssim(x, y).numpy(), piq.ssim(y, x, data_range=1.0, reduction="none").numpy()),
        ("SSIM", "scikit-image, window and inner region of Wang et al.", reconstruction.ssim(x, y).numpy(), ssim),
        ("GMSD", "piq", reconstruction.gmsd(x, y).numpy(), piq.gmsd(y, x, data_range=1.0, reduction="none").numpy()),
    ]
    for net, file in WEIGHTS.items():
        if file.exists():
            theirs = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
            copy_trunk(theirs, torch.load(file, weights_only=True))
            trunk = Perceptual(net, file)
            for precision in (torch.float32, torch.float64):
                a, b = x.to(precision), y.to(precision)
                trunk.to(precision), theirs.to(precision)
                ours = trunk.distance(trunk.features(a), trunk.features(b)).numpy()
                with torch.no_grad():
                    expected = theirs(2 * a - 1, 2 * b - 1).flatten().double().numpy()
                rows.append((f"LPIPS ({net}), {precision}", "lpips 0.1.4", ours, expected))
    return rows


def of_resizes() -> dict[tuple[int, int], float]:
    """The largest difference of the resize before clean-fid's Inception, in levels of 0 to 255, by height and width."""
    if not find_spec("cleanfid"):
        return {}
    from cleanfid.resize import build_resizer

    theirs, ours = build_resizer("clean"), AntialiasedInception(torch.nn.Identity()).resized
    random, found = np.random.default_rng(0), {}
    for size in SIZES:
        image = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        resized = ours(torch.from_numpy(image.transpose(2, 0, 1))[None])[0].numpy().transpose(1, 2, 0)
        found[size] = float(np.abs(resized - theirs(image)).max())
    return found


def copy_trunk(model: lpips.LPIPS, state: dict[str, torch.Tensor]) -> None:
    """Give lpips's trunk the convolutions of torchvision's state dict."""
    convolutions = [layer for layer in model.net.modules() if isinstance(layer, torch.nn.Conv2d)]
    numbers = sorted({int(name.split(".")[1]) for name in state})
    with torch.no_grad():
        for layer, number in zip(convolutions, numbers, strict=True):
            layer.weight.copy_(state[f"features.{number}.weight"])
            layer.bias.copy_(state[f"features.{number}.bias"])


if __name__ == "__main__":
    main()

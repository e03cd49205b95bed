"""The Inception features of the FID: the network of torch-fidelity with weights from a file of this pipeline."""

from pathlib import Path

import numpy as np
import torch

from vaebench.errors import UserError

NAME, LAYER = "inception-v3-compat", "2048"


def inception_extractor(weights: Path) -> torch.nn.Module:
    """torch-fidelity's port of the FID Inception, with the weights in `weights`, in eval mode.

    Raises UserError when torch-fidelity is not installed or the file does not fit.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise UserError("FID needs the package torch-fidelity: pip install torch-fidelity") from None
    try:
        network = FeatureExtractorInceptionV3(
            "inception-v3-compat", [LAYER], feature_extractor_weights_path=str(weights)
        )
    except (OSError, RuntimeError, KeyError) as error:
        raise UserError(f"{weights}: not the FID Inception weights of torch-fidelity: {error}") from None
    return network.eval()


@torch.no_grad()
def inception_features(network: torch.nn.Module, images: np.ndarray, batch_size: int, device: str) -> np.ndarray:
    """Features (n, 2048) float32 of uint8 images (n, 1 or 3, H, W); the network resizes them itself."""
    network = network.to(device)
    features = []
    for start in range(0, len(images), batch_size):
        batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(device)
        features.append(network(batch.expand(-1, 3, -1, -1).contiguous())[0].float().cpu().numpy())
    return np.concatenate(features)

"""MSSSIM_VAE, which is trained on structural similarity (Wang et al. 2003) whatever its configuration says."""

import torch
from pythae.models.msssim_vae.msssim_vae_utils import MSSSIM
from torch import Tensor
from torch.nn import functional

from vaebench.models.providers.pythae.model import PythaeModel

# The weights of the levels, by the number of pixels of the shorter edge from which on they are taken: pythae's.
WEIGHTS = {
    0: (1.0,),
    4: (0.3222, 0.6778),
    8: (0.4558, 0.1633, 0.3809),
    16: (0.3117, 0.3384, 0.2675, 0.0824),
    32: (0.0448, 0.2856, 0.3001, 0.2363, 0.1333),
}


class Model(PythaeModel):
    """pythae ignores its `reconstruction_loss`."""

    ignores_reconstruction_loss = True
    msssim: MSSSIM

    def prepare_training(self) -> None:
        """Window and weights stay on the device, where pythae makes and moves them at every step."""
        self.msssim = ResidentMSSSIM(self.msssim.window_size, self.input_shape).to(self.device)


class ResidentMSSSIM(MSSSIM):
    """pythae's, to the last bit, for images of one shape (C, H, W)."""

    window: Tensor
    weights: Tensor

    def __init__(self, window_size: int, shape: tuple[int, int, int]) -> None:
        super().__init__(window_size)
        edge = max(least for least in WEIGHTS if least <= min(shape[1:]))
        window = super()._create_window(n_dim=2, channel=shape[0])
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("weights", torch.tensor(WEIGHTS[edge], dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """1 - MS-SSIM of all images (B, C, H, W) as one, a scalar."""
        found = []
        for _ in range(len(self.weights)):
            found.append(torch.stack(self.ssim(x, y)))
            x, y = (functional.avg_pool2d(images, 2) for images in (x, y))
        similarities, contrasts = (torch.stack(found, 1) + 1) / 2  # between 0 and 1, as powers need them
        powers = contrasts**self.weights
        return 1 - torch.prod(powers[:-1] * (similarities**self.weights)[-1])

    def _create_window(self, n_dim: int, channel: int = 1) -> Tensor:
        return self.window

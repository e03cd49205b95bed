"""MSSSIM_VAE, which is trained on structural similarity whatever its configuration says."""

from vaebench.models.providers.pythae.model import PythaeModel


class Model(PythaeModel):
    """pythae ignores its `reconstruction_loss`."""

    ignores_reconstruction_loss = True

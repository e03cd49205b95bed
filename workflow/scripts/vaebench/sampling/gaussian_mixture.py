"""Latents from a mixture of Gaussians that is fitted to those of the training images (Ghosh et al. 2020)."""

from typing import TYPE_CHECKING

import numpy as np

from vaebench.sampling.latent_density import as_latents, held_out_latents, refuse_one, training_latents
from vaebench.sampling.request import Drawn, Request

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

FIRST = 20_000  # of more latents so many are fitted first, so that few rounds have to go over all
TOLERANCE = 1e-3  # nats: the rounds of a fit end with the first that gains less
OF_ALL = 1e-2  # the same of the rounds over all latents, which cost most (docs/performance.md says what is left then)


def draw(request: Request) -> Drawn:
    """Draws of a mixture fitted to the modes of (up to `fit_images`) training images."""
    latents = training_latents(request)
    seed = int(request.generator.integers(2**31))
    mixture = fit_mixture(latents, request.options["n_components"], seed)
    drawn = mixture.sample(request.count)[0]
    drawn = request.generator.permutation(drawn)  # sklearn sorts by component
    nats = {split: -mixture.score_samples(z) for split, z in held_out_latents(request).items()}
    return Drawn(as_latents(drawn, request), latent_nats=nats)


def fit_mixture(latents: np.ndarray, components: int, seed: int) -> "GaussianMixture":
    """A mixture of Gaussians of full covariance, of latents (n, L); of at most n components.

    Raises UserError for a single latent, as of labels that only one training image has.
    """
    from sklearn.mixture import GaussianMixture

    refuse_one(len(latents))
    settings = {"max_iter": 2000, "tol": TOLERANCE, "random_state": seed, "warm_start": True}
    mixture = GaussianMixture(min(components, len(latents)), **settings)
    if len(latents) > FIRST:
        mixture.fit(latents[np.random.default_rng(seed).choice(len(latents), FIRST, replace=False)])
        mixture.set_params(tol=OF_ALL)
    return mixture.fit(latents)

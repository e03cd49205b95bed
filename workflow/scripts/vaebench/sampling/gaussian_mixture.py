"""Latents from a mixture of Gaussians that is fitted to those of the training images (Ghosh et al. 2020)."""

from vaebench.sampling.latent_density import as_latents, held_out_latents, training_latents
from vaebench.sampling.request import Drawn, Request

OPTIONS: dict[str, object] = {"n_components": 10, "fit_images": 20000}


def draw(request: Request) -> Drawn:
    """Draws of a mixture fitted to the modes of (up to `fit_images`) training images."""
    from sklearn.mixture import GaussianMixture

    latents = training_latents(request)
    components = min(request.options["n_components"], len(latents))
    seed = int(request.generator.integers(2**31))
    mixture = GaussianMixture(components, max_iter=2000, tol=1e-3, random_state=seed).fit(latents)
    drawn = mixture.sample(request.count)[0]
    drawn = request.generator.permutation(drawn)  # sklearn sorts by component
    nats = {split: -mixture.score_samples(z) for split, z in held_out_latents(request).items()}
    return Drawn(as_latents(drawn, request), latent_nats=nats)

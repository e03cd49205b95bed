"""A variational autoencoder with a Gaussian posterior, a standard normal prior, and a likelihood that is chosen."""

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from pythae.models.base.base_utils import ModelOutput
from torch import Tensor, nn

from vaebench.models.interface import Losses, Moment
from vaebench.models.label_names import label_values
from vaebench.models.networks.families import build_around
from vaebench.models.posterior import Gaussian, Posterior
from vaebench.models.providers.likelihoods.catalog import LEARNED, LIKELIHOODS, MODELS
from vaebench.models.providers.likelihoods.likelihood import Likelihood
from vaebench.models.run_spec import ModelSpec
from vaebench.models.terms.added_terms import ModelWithTerms


class LikelihoodVAE(ModelWithTerms):
    """`encoder` gives `embedding` and `log_covariance`, (B, L) each; `decoder` gives `reconstruction`.

    Where latents are grids, the encoder gives both in one `embedding`, (B, 2 D, h, w). With the field `conditional`
    posterior and likelihood are those given labels (`Autoencoder.given`), and the prior is the same for all labels. The
    loss is -ln p(x|z) of one draw of z, with every constant, plus beta times the KL divergence, and what is added.
    variance: of the posterior, the same for all images (CV-VAE, Ghosh et al. 2020, arXiv 1903.12436); None: the
    encoder's.
    """

    answer = ModelOutput

    def __init__(
        self,
        shape: tuple[int, int, int],
        networks: tuple[nn.Module, nn.Module],
        likelihood: Likelihood,
        fields: Mapping[str, Any],
    ) -> None:
        super().__init__(shape, networks, fields)
        self.p = likelihood
        self.beta = float(fields["beta"])
        self.variance = None if fields["posterior_variance"] == LEARNED else float(fields["posterior_variance"])
        self.likelihood = likelihood.kind

    def losses(self, x: Tensor, moment: Moment) -> Losses:
        """loss, reconstruction_loss and kl, in nats an image, and the added terms."""
        mean, log_variance = self._gaussian(x)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        y = self.decode(z)
        nats = self.p(x, y).mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).flatten(1).sum(1).mean()
        return self.with_added((x, y), {"reconstruction_loss": nats, "kl": kl}, self.beta * kl, moment)

    def encode(self, x: Tensor) -> Posterior:
        """A Gaussian."""
        return Gaussian(*self._gaussian(x))

    def own_nats(self, x: Tensor, y: Tensor) -> Mapping[str, Tensor] | None:
        """Under the chosen likelihood; None for a Bernoulli, which `likelihood` names."""
        return None if self.likelihood == "bernoulli" else {self.p.metric: self.p.nats(x.double(), y.double())}

    def _gaussian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and ln σ² of the posterior."""
        output = self.encoder_output(x)
        if self.variance is None and output.embedding.ndim == 4:
            mean, log_variance = output.embedding.chunk(2, dim=1)
            return mean, log_variance
        if self.variance is None:
            return output.embedding, output.log_covariance
        return output.embedding, torch.full_like(output.embedding, math.log(self.variance))


def build_likelihood_vae(spec: ModelSpec, shape: tuple[int, int, int]) -> LikelihoodVAE:
    """The model of a run's specification; `UserError` for fields and networks that cannot be."""
    info = MODELS[spec.model_name]
    given = {**info.fields, **spec.config}
    moments = 2 if given["spatial"] and given["posterior_variance"] == LEARNED else 1
    labels = sum(len(values) for values in label_values(given).values())
    widths = {"encoder": moments * given["latent_dim"], "decoder": given["latent_dim"] + labels}
    fields, networks = build_around(spec, info, shape, widths)
    name, options = LIKELIHOODS.chosen(fields["likelihood"])
    likelihood = import_module(f"vaebench.models.providers.likelihoods.{name}").BUILD({"channels": shape[0], **options})
    return LikelihoodVAE(shape, (networks["encoder"], networks["decoder"]), likelihood, fields)

"""The pass over held-out images: each is encoded, reconstructed and compared once."""

import numpy as np
import torch
from pythae.models import BaseAE
from torch import Tensor

from vaebench.evaluation.measurement import BOUND, PRIOR, SAMPLED, Pass, Task
from vaebench.metrics.latent import LatentSummary, vq_commitment
from vaebench.metrics.pairs import Compared
from vaebench.metrics.rate import POINT, bound_terms, code_terms, flow_folds, trained_on_cross_entropy
from vaebench.models.draws import draw_latent
from vaebench.models.kl import kl_per_dimension
from vaebench.models.posterior import Encoding, central_latent, decode, encode

DETERMINISTIC = ("none", "vq")
RECONSTRUCTED = "reconstructed/"  # before a feature network's name: of the reconstructions


def pass_over_images(task: Task, summary: LatentSummary) -> Pass:
    """Reconstruct every held-out image once; its metrics, its latent's, and the features of both."""
    model, found = task.model, Pass()
    prior = task.generator(PRIOR)
    draws = [task.generator(SAMPLED + k) for k in range(task.settings["samples_per_image"])]
    bound = [task.generator(BOUND + k) for k in range(task.settings["elbo_draws"])]
    for x, kept in task.batches(task.images, "held-out images"):
        encoding = encode(model, x)
        latent = central_latent(model, encoding)
        y = decode(model, latent)
        compared = task.pairs(x, y, features_y=True)
        values = compared.values | _encoding_values(task, x, encoding, found.count, bound)
        if model.model_name == "VAEGAN":
            from vaebench.metrics.vaegan import vaegan_terms  # of this model only: see the catalog

            values |= vaegan_terms(model, x, y, encoding, prior)
        if draws and encoding.family not in DETERMINISTIC:
            values |= _sampled(task, x, encoding, draws)
        summary.update(encoding.head(kept), latent[:kept])
        features = _features(task, compared, x, y, found.room(kept, task.limit))
        found.add(values, features, kept, task.limit)
    return found


def rate_notes(model: BaseAE, family: str, task: Task) -> dict[str, str]:
    """Notes on a model's rate and on its negative ELBO, by metric."""
    draws = task.settings["elbo_draws"]
    drawn = f"{draws} draw{'s' * (draws > 1)} an image"
    if family == "vq":
        rate = f"cross-entropy of the codes under the prior that draws them ({task.sampler})"
        if task.code_nats is None:
            rate = "the samples hold no prior of the codes: generate them again"
        elif task.settings["split"] == "eval" and task.sampler == "pixelcnn":
            rate += ", which these images helped to choose"
        return dict.fromkeys(("rate", "rate_bits", "neg_elbo"), rate)
    if family == POINT:
        return {}
    notes = {"neg_elbo": drawn, "neg_elbo_bernoulli": drawn, "distortion": drawn}
    if trained_on_cross_entropy(model):
        notes["neg_elbo"] += "; the model was trained on the Bernoulli likelihood"
    if family == "hamiltonian":
        rate = f"estimate in the extended space of latents and momenta, {drawn}"
    elif flow_folds(model):
        rate = "a planar flow is not invertible (w·u < -1), so that the posterior's density is not known"
        notes["neg_elbo"] = notes["neg_elbo_bernoulli"] = rate
    elif family not in ("gaussian", "von_mises_fisher"):
        rate = f"estimate, {drawn}"
    else:
        return notes
    return notes | {"rate": rate, "rate_bits": rate}


def _encoding_values(
    task: Task, x: Tensor, encoding: Encoding, start: int, bound: list[np.random.Generator]
) -> dict[str, Tensor]:
    """What the encoding of a batch, whose first image has the index `start`, says of each image."""
    model = task.model
    if encoding.family == "vq":
        nats = torch.full((len(x),), torch.nan, dtype=torch.float64)
        if task.code_nats is not None:
            known = torch.from_numpy(task.code_nats[start : start + len(x)])
            nats[: len(known)] = known
        return {"vq_commitment": vq_commitment(encoding)} | code_terms(model, x, encoding, nats)
    values = bound_terms(model, x, encoding, bound)
    if encoding.family == "gaussian":
        values["kl"] = kl_per_dimension(encoding.mean, encoding.log_variance).sum(1)
    return values


def _sampled(task: Task, x: Tensor, encoding: Encoding, draws: list[np.random.Generator]) -> dict[str, Tensor]:
    """The pair metrics of reconstructions from drawn latents, averaged over the draws."""
    drawn = [task.pairs(x, decode(task.model, draw_latent(task.model, x, encoding, g))).values for g in draws]
    return {f"sampled_{name}": torch.stack([values[name] for values in drawn]).mean(0) for name in drawn[0]}


def _features(task: Task, compared: Compared, x: Tensor, y: Tensor, wanted: int) -> dict[str, Tensor]:
    """The features of a batch and of its reconstructions; those of other networks than LPIPS's as far as wanted."""
    found = compared.features_x | {f"{RECONSTRUCTED}{name}": values for name, values in compared.features_y.items()}
    if wanted:
        for name, network in task.networks.items():
            found |= {name: network(x[:wanted]), f"{RECONSTRUCTED}{name}": network(y[:wanted])}
    return found

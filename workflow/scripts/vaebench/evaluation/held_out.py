"""The pass over held-out images: each is encoded, reconstructed and compared once."""

import numpy as np
import torch
from torch import Tensor

from vaebench.base.evaluation_settings import GIVEN
from vaebench.evaluation.measurement import BOUND, PRIOR, SAMPLED, Pass, Task
from vaebench.metrics.latent import LatentSummary
from vaebench.metrics.pairs import Compared
from vaebench.metrics.rate import bound_terms, code_terms
from vaebench.models.inference import decode, encode
from vaebench.models.interface import Autoencoder
from vaebench.models.posterior import Codes, Posterior

CHOSEN_BY_EVAL = ("pixelcnn", "transformer")  # priors of codes whose epoch was chosen by the split eval
BOUNDS = ("neg_elbo", "neg_elbo_bernoulli", "neg_elbo_density", "bits_per_dim")
RECONSTRUCTED = "reconstructed/"  # before a feature network's name: of the reconstructions


def pass_over_images(task: Task, summary: LatentSummary) -> Pass:
    """Reconstruct every held-out image once; its metrics, its latent's, and the features of both."""
    model, found = task.model, Pass()
    prior = task.generator(PRIOR)
    draws = [task.generator(SAMPLED + k) for k in range(task.settings.samples_per_image)]
    bound = [task.generator(BOUND + k) for k in range(task.settings.elbo_draws)]
    for x, kept in task.batches(task.images, "held-out images", task.given):
        posterior = encode(model, x)
        latent = posterior.mode()
        y = decode(model, latent)
        compared = task.pairs(x, y, features_y=True)
        values = compared.values | _posterior_values(task, x, posterior, found.count, bound)
        values |= model.diagnostics(x, y, posterior, prior)
        if draws and not posterior.is_point:
            values |= _sampled(task, x, posterior, draws)
        summary.update(posterior.head(kept), latent[:kept])
        features = _features(task, compared, x, y, found.room(kept, task.limit))
        found.add(values, features, kept, task.limit)
    return found


def rate_notes(model: Autoencoder, posterior: Posterior, task: Task) -> dict[str, str]:
    """Notes on a model's rate and on its negative ELBO, by metric; `posterior` is that of any images."""
    if posterior.codes is not None:
        return dict.fromkeys(("rate", "rate_bits", *BOUNDS), _note_on_codes(model, task))
    if posterior.is_point:
        return {}
    draws = task.settings.elbo_draws
    drawn = f"{draws} draw{'s' * (draws > 1)} an image"
    notes = dict.fromkeys((*BOUNDS, "distortion"), drawn)
    if model.labels:
        notes = {name: f"{note}{GIVEN}{', '.join(model.labels)}" for name, note in notes.items()}
    if model.likelihood != "gaussian":
        notes["neg_elbo"] += f"; the model was trained on the {model.likelihood.title()} likelihood"
    if posterior.kl() is not None:
        return notes
    rate = f"{posterior.estimate}, {drawn}"
    if unknown := posterior.why_no_rate():
        rate = unknown
        notes |= dict.fromkeys(BOUNDS, unknown)
    return notes | {"rate": rate, "rate_bits": rate}


def _note_on_codes(model: Autoencoder, task: Task) -> str:
    """How the rate of a model with codes is computed."""
    if task.code_nats is None:
        return "the samples hold no prior of the codes: generate them again"
    note = f"cross-entropy of the codes under the prior that draws them ({task.sampler})"
    if model.labels:
        note += f"{GIVEN}{', '.join(model.labels)}"
    if task.cooled:
        note += f", at temperature 1; they are drawn with {task.cooled}"
    if task.settings.split == "eval" and task.sampler in CHOSEN_BY_EVAL:
        note += ", which these images helped to choose"
    return note + labels_not_drawn(model, task.code_nats)


def labels_not_drawn(model: Autoencoder, nats: np.ndarray) -> str:
    """What a note says of images that have no nats, (n, ...), since none were drawn for their labels; else empty."""
    missing = int(np.isnan(nats).reshape(len(nats), -1).any(1).sum())
    return f"; no image was generated for the labels of {missing} of them" if model.labels and missing else ""


def _posterior_values(
    task: Task, x: Tensor, posterior: Posterior, start: int, bound: list[np.random.Generator]
) -> dict[str, Tensor]:
    """The values per image from the posterior of a batch, whose first image has the index `start`."""
    if posterior.codes is not None:
        nats = _code_nats(task, start, len(x))
        commitment = posterior.commitment() if isinstance(posterior, Codes) else None
        values = {} if commitment is None else {"vq_commitment": commitment}
        if nats.ndim == 2:
            values |= {f"rate/level {number}": level for number, level in enumerate(nats.unbind(1), 1)}
            nats = nats.sum(1)
        return values | code_terms(task.model, x, posterior, nats)
    values = bound_terms(task.model, x, posterior, bound)
    each = posterior.kl_per_dimension()
    if each is not None:
        values["kl"] = each.flatten(1).sum(1)
    return values


def _code_nats(task: Task, start: int, count: int) -> Tensor:
    """-ln p(codes) of `count` images from the index `start` on: (count,), or (count, levels); NaN where not known."""
    if task.code_nats is None:
        return torch.full((count,), torch.nan, dtype=torch.float64)
    nats = torch.full((count, *task.code_nats.shape[1:]), torch.nan, dtype=torch.float64)
    known = torch.from_numpy(task.code_nats[start : start + count])
    nats[: len(known)] = known
    return nats


def _sampled(task: Task, x: Tensor, posterior: Posterior, draws: list[np.random.Generator]) -> dict[str, Tensor]:
    """The pair metrics of reconstructions from drawn latents, averaged over the draws."""
    drawn = [task.pairs(x, decode(task.model, posterior.sample(generator))).values for generator in draws]
    return {f"sampled_{name}": torch.stack([values[name] for values in drawn]).mean(0) for name in drawn[0]}


def _features(task: Task, compared: Compared, x: Tensor, y: Tensor, wanted: int) -> dict[str, Tensor]:
    """The features of a batch and of its reconstructions; those of other networks than LPIPS's as far as wanted."""
    found = compared.features_x | {f"{RECONSTRUCTED}{name}": values for name, values in compared.features_y.items()}
    if wanted:
        for name, network in task.networks.items():
            found |= {name: network(x[:wanted]), f"{RECONSTRUCTED}{name}": network(y[:wanted])}
    return found

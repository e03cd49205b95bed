"""Generated images: each family's natural sampler, or the one that the configuration names."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pythae.models import BaseAE
from torch import Tensor
from tqdm import tqdm

from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path
from vaebench.base.npz import open_array
from vaebench.models.batches import aligned_rows, batches, prepare_torch, to_bytes
from vaebench.models.building import load_model
from vaebench.models.catalog import MODELS
from vaebench.models.draws import draw_latent
from vaebench.models.posterior import central_latent, decode, encode, family

# The samplers and their options.
DEFAULTS = {
    "normal": {},
    "gaussian_mixture": {"n_components": 10, "fit_images": 20000},
    "aggregate_posterior": {},
    "vamp": {},
    "hypersphere": {},
    "poincare": {},
    "rhvae": {"mcmc_steps_nbr": 100, "n_lf": 15, "eps_lf": 0.03},
    "pixelcnn": {"epochs": 15, "channels": 32, "layers": 2, "batch_size": 64, "learning_rate": 5e-3, "patience": 3},
    "uniform_codes": {},
}


def sample(
    model: Path, data: dict[str, Path], output: Path, sampler: dict, settings: dict, seed: int, threads: int
) -> None:
    """Generate `settings["count"]` images with a trained model and write them as an npz.

    data: split -> npz; seed: the training's, so that two trainings of one run do not share their draws. The npz holds
    `data`, uint8 (count, C, H, W), and `sampler`, a JSON text of the sampler's name, options and seeds; for a VQ model
    also `code_nats_eval` and `code_nats_test`, float64 (n,): -ln p(codes) of the images of these splits under the prior
    that the codes were drawn from. Raises UserError for a sampler that does not fit the model and for a model that
    gives values that are not finite.
    """
    device = prepare_torch(threads, settings["device"])
    network = load_model(model, device)
    name, options = resolve_sampler(network, sampler)
    generator = np.random.default_rng([settings["seed"], seed])
    torch.manual_seed(int(generator.integers(2**63)))
    images = {split: open_array(path) for split, path in data.items()}
    drawn = SAMPLERS[name](Request(network, settings["count"], options, generator, images))
    generated = []
    blocks = aligned_rows(drawn.latents, settings["batch_size"])
    for z, kept in tqdm(blocks, desc=f"decoding {name} samples", unit="batch"):
        batch = decode(network, z.to(device))[:kept]
        if not torch.isfinite(batch).all():
            raise UserError(f"{model}: the model gives images that are not finite; it diverged or is damaged")
        generated.append(to_bytes(batch))
    seeds = {"seed": settings["seed"], "training_seed": seed}
    described = json.dumps({"name": name, "options": options} | seeds, sort_keys=True)
    nats = {f"code_nats_{split}": values for split, values in drawn.code_nats.items()}
    with atomic_path(output) as temporary:
        np.savez(temporary, data=np.concatenate(generated), sampler=np.array(described), **nats)
    print(f"Generated {settings['count']} images with the sampler {name}: {output}")


def resolve_sampler(network: BaseAE, sampler: dict) -> tuple[str, dict]:
    """The name behind `auto`, and the options with their defaults; UserError for what does not fit the model."""
    kind = family(network)
    name = sampler["name"]
    if name == "auto":
        name = MODELS[network.model_name].sampler
    if name not in DEFAULTS:
        raise UserError(f"sampler.name: {name!r} is not known; choose auto, {', '.join(DEFAULTS)}")
    reason = _misfit(name, kind, network.model_name)
    if reason:
        raise UserError(f"sampler.name: {name} does not fit {network.model_name}: {reason}")
    given = sampler.get("options", {})
    unknown = sorted(set(given) - set(DEFAULTS[name]))
    if unknown:
        raise UserError(f"sampler.options: {name} has no option {unknown[0]!r}; it has {sorted(DEFAULTS[name])}")
    return name, DEFAULTS[name] | given


def _misfit(name: str, kind: str, model_name: str) -> str | None:
    if (name in ("pixelcnn", "uniform_codes")) != (kind == "vq"):
        return "it draws codes of a VQ model" if kind != "vq" else "a VQ model needs codes: pixelcnn or uniform_codes"
    only = {"vamp": "VAMP", "rhvae": "RHVAE", "poincare": "PoincareVAE", "hypersphere": "SVAE"}
    return f"only {only[name]} has this prior" if name in only and only[name] != model_name else None


@dataclass(frozen=True)
class Request:
    """What a sampler is given: the model, how many latents, its options, the random stream, and the images by split."""

    network: BaseAE
    count: int
    options: dict
    generator: np.random.Generator
    images: dict[str, np.ndarray]

    @property
    def train(self) -> np.ndarray:
        """The training images, uint8 (n, C, H, W)."""
        return self.images["train"]

    @property
    def held_out(self) -> list[str]:
        """The other splits."""
        return [split for split in self.images if split != "train"]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.network.parameters()).device

    def noise(self) -> Tensor:
        """Standard normal (count, L)."""
        drawn = self.generator.standard_normal((self.count, self.network.latent_dim), dtype=np.float32)
        return torch.from_numpy(drawn).to(self.device)


@dataclass(frozen=True)
class Drawn:
    """What a sampler gives: latents (count, ...) as the decoder takes them, and for codes -ln p by held-out split."""

    latents: Tensor
    code_nats: dict[str, np.ndarray] = field(default_factory=dict)


def _normal(request: Request) -> Drawn:
    """The standard normal prior."""
    return Drawn(request.noise())


def _hypersphere(request: Request) -> Drawn:
    """The uniform prior on the sphere."""
    z = request.noise()
    return Drawn(z / z.norm(dim=1, keepdim=True))


def _gaussian_mixture(request: Request) -> Drawn:
    """A mixture fitted to the latents of (up to `fit_images`) training images."""
    from sklearn.mixture import GaussianMixture

    latents = train_latents(request.network, request.train[: request.options["fit_images"]])
    components = min(request.options["n_components"], len(latents))
    seed = int(request.generator.integers(2**31))
    mixture = GaussianMixture(components, max_iter=2000, tol=1e-3, random_state=seed).fit(latents)
    drawn = mixture.sample(request.count)[0]
    drawn = request.generator.permutation(drawn)  # sklearn sorts by component
    return Drawn(torch.from_numpy(drawn.astype(np.float32)))


def train_latents(network: BaseAE, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """The central latent of each image, (n, L) float64."""
    device = str(next(network.parameters()).device)
    found = [central_latent(network, encode(network, x)) for x in batches(images, batch_size, device)]
    return torch.cat(found).flatten(1).double().cpu().numpy()


def _aggregate_posterior(request: Request) -> Drawn:
    """A draw from the posterior of a random training image for each sample."""
    network, generator = request.network, request.generator
    chosen = generator.integers(len(request.train), size=request.count)
    draws = []
    for x in batches(request.train[chosen], 256, str(request.device)):
        draws.append(draw_latent(network, x, encode(network, x), generator))
    return Drawn(torch.cat(draws))


@torch.no_grad()
def _vamp(request: Request) -> Drawn:
    """The learned prior: the mixture of the posteriors of the pseudo-inputs, all equally likely."""
    network = request.network
    shape = (network.number_components, *network.model_config.input_dim)
    output = network.encoder(network.pseudo_inputs(network.idle_input.to(request.device)).reshape(shape))
    chosen = torch.from_numpy(request.generator.integers(len(output.embedding), size=request.count)).to(request.device)
    return Drawn(output.embedding[chosen] + request.noise() * torch.exp(0.5 * output.log_covariance[chosen]))


@torch.no_grad()
def _poincare(request: Request) -> Drawn:
    """The model's own prior on the Poincaré ball."""
    network = request.network
    prior = network.prior(loc=network._pz_mu, scale=network._pz_logvar.exp(), manifold=network.latent_manifold)
    return Drawn(prior.rsample(torch.Size([request.count])).reshape(request.count, -1))


def _rhvae(request: Request) -> Drawn:
    """Hamiltonian Monte Carlo on the learned metric, as pythae does it."""
    from pythae.samplers import RHVAESampler, RHVAESamplerConfig

    sampler = RHVAESampler(request.network, RHVAESamplerConfig(**request.options))
    return Drawn(sampler.hmc_sampling(request.count).detach())


def _pixelcnn(request: Request) -> Drawn:
    """Codes from an autoregressive prior that is fitted to the codes of the training images."""
    from vaebench.sampling.pixelcnn import code_nats, fit_pixelcnn, sample_codes  # of VQ models only: see the catalog

    network = request.network
    seed = int(request.generator.integers(2**31))
    codes = {split: image_codes(network, images) for split, images in request.images.items()}
    prior = fit_pixelcnn(codes["train"], codes["eval"], len(codebook(network)), request.options, seed)
    drawn = sample_codes(prior, request.count, codes["train"].shape[1:], seed)
    nats = {split: code_nats(prior, codes[split], request.options["batch_size"]) for split in request.held_out}
    return Drawn(embed_codes(network, drawn), nats)


def _uniform_codes(request: Request) -> Drawn:
    """Every code equally likely at every position: the original study's variant."""
    grid, book = image_codes(request.network, request.train[:1]).shape[1:], len(codebook(request.network))
    codes = request.generator.integers(book, size=(request.count, *grid))
    each = math.prod(grid) * math.log(book)
    nats = {split: np.full(len(request.images[split]), each) for split in request.held_out}
    return Drawn(embed_codes(request.network, torch.from_numpy(codes)), nats)


def codebook(network: BaseAE) -> Tensor:
    """The code vectors (K, D); the EMA variant keeps them as a buffer, the other as an embedding layer."""
    embeddings = network.quantizer.embeddings
    return embeddings if isinstance(embeddings, Tensor) else embeddings.weight.detach()


def image_codes(network: BaseAE, images: np.ndarray, batch_size: int = 256) -> Tensor:
    """The codes of images, (n, h, w) int64; UserError when the encoder's answer is not finite."""
    device = str(next(network.parameters()).device)
    codes = torch.cat([encode(network, x).codes for x in batches(images, batch_size, device)])
    if (codes < 0).any():
        raise UserError("the model's encoder gives values that are not finite; it diverged or is damaged")
    return codes


def embed_codes(network: BaseAE, codes: Tensor) -> Tensor:
    """Codes (n, h, w) as the decoder takes them: (n, D, h, w), or (n, h·w·D) when the encoder gives a vector."""
    vectors = codebook(network)[codes.to(codebook(network).device)].permute(0, 3, 1, 2)
    probe = torch.zeros(1, *network.model_config.input_dim, device=vectors.device)
    with torch.no_grad():
        flat = network.encoder(probe).embedding.ndim == 2
    return vectors.reshape(len(vectors), -1) if flat else vectors.contiguous()


SAMPLERS: dict[str, Callable[[Request], Drawn]] = {
    "normal": _normal,
    "gaussian_mixture": _gaussian_mixture,
    "aggregate_posterior": _aggregate_posterior,
    "vamp": _vamp,
    "hypersphere": _hypersphere,
    "poincare": _poincare,
    "rhvae": _rhvae,
    "pixelcnn": _pixelcnn,
    "uniform_codes": _uniform_codes,
}

"""Generated images: each family's natural sampler, or the one that the configuration names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from vaebench.base.errors import UserError
from vaebench.base.formats import write_npz
from vaebench.base.npz import open_array
from vaebench.models.batches import aligned_rows, conditions_beside, prepare_torch, to_bytes
from vaebench.models.conditions import read_conditions
from vaebench.models.inference import decode
from vaebench.models.run_spec import Named
from vaebench.models.storage import load_model
from vaebench.sampling.choice import find_sampler, resolve_sampler
from vaebench.sampling.given_labels import draw_given_labels
from vaebench.sampling.request import Request
from vaebench.sampling.sampling_settings import SamplingSettings


@dataclass(frozen=True)
class SamplingFiles:
    """The folder of a trained model, the npz of each split, and the npz to be written.

    labels: of a conditional model, the CSV of the labels of each split.
    """

    model: Path
    data: Mapping[str, Path]
    output: Path
    labels: Mapping[str, Path] = field(default_factory=dict)


def sample(files: SamplingFiles, sampler: Named, settings: SamplingSettings, seed: int, threads: int) -> None:
    """Generate `settings.count` images with a trained model and write them as an npz.

    seed: the training's, so that two trainings of one run do not share their draws. The npz holds
    `data`, uint8 (count, C, H, W), and `sampler`, a JSON text of the sampler's name, options and seeds; for a VQ model
    also `code_nats_eval` and `code_nats_test`, float64 (n,), or (n, levels) for codes of several levels:
    -ln p(codes) of the images of these splits under the prior that the codes were drawn from; for a density that was
    fitted to latents `latent_nats_eval` and `latent_nats_test`, (n,). Raises UserError for a sampler that does not fit
    the model and for a model that gives values that are not finite. Labels of a conditional model are drawn as the
    training images have them; the npz then holds `conditions`, their rows (count, K), uint8.
    """
    device = prepare_torch(threads, settings.device)
    network = load_model(files.model, device)
    name, options = resolve_sampler(network, sampler)
    generator = np.random.default_rng([settings.seed, seed])
    torch.manual_seed(int(generator.integers(2**63)))
    images = {split: open_array(path) for split, path in files.data.items()}
    request = Request(network, settings.count, options, generator, images)
    conditions: np.ndarray | None = None
    if network.labels:
        rows = {split: read_conditions(path, network.labels) for split, path in files.labels.items()}
        drawn, conditions = draw_given_labels(find_sampler(network, name), request, rows)
    else:
        drawn = find_sampler(network, name).draw(request)
    generated = []
    blocks = tqdm(aligned_rows(drawn.latents, settings.batch_size), desc=f"decoding {name} samples", unit="batch")
    for (z, kept), given in zip(blocks, conditions_beside(conditions, settings.batch_size, device), strict=False):
        with network.given(given):
            batch = decode(network, z.to(device))[:kept]
        if not torch.isfinite(batch).all():
            raise UserError(f"{files.model}: the model gives images that are not finite; it diverged or is damaged")
        generated.append(to_bytes(batch))
    seeds = {"seed": settings.seed, "training_seed": seed}
    described = json.dumps({"name": name, "options": options} | seeds, sort_keys=True)
    nats = {f"code_nats_{split}": values for split, values in drawn.code_nats.items()}
    nats |= {f"latent_nats_{split}": values for split, values in drawn.latent_nats.items()}
    arrays = {"data": np.concatenate(generated), "sampler": np.array(described), **nats}
    if conditions is not None:
        arrays["conditions"] = conditions.astype(np.uint8)
    write_npz("samples", files.output, arrays)
    print(f"Generated {settings.count} images with the sampler {name}: {files.output}")

"""The samplers that a configuration can name.

The Snakefile reads this module on every start, so nothing heavy is imported. It is here, and not with the samplers,
since the configuration is checked before anything is sampled.
"""

from collections.abc import Iterator, Mapping

from vaebench.base.plugin_files import added
from vaebench.models.lookup import MODELS

AUTO = "auto"
# A module for each: what draws latents of any continuous kind, and what draws codes.
CONTINUOUS = {
    name: f"vaebench.sampling.{name}"
    for name in ("normal", "fitted_gaussian", "gaussian_mixture", "maf", "iaf", "two_stage", "aggregate_posterior")
}
OF_CODES = {name: f"vaebench.sampling.{name}" for name in ("pixelcnn", "transformer", "uniform_codes")}


class SamplerNames(Mapping[str, str]):
    """The module of each sampler by name; empty for `auto`, the prior of a model's own, and what a plugin adds."""

    def __getitem__(self, name: str) -> str:
        if name not in list(self):
            raise KeyError(name)
        return (CONTINUOUS | OF_CODES).get(name, "")

    def __iter__(self) -> Iterator[str]:
        own = [info.sampler for info in MODELS.values() if info.sampler]
        plugins = [entry.name for entry in added("sampler")]
        return iter(dict.fromkeys([AUTO, *CONTINUOUS, *own, *OF_CODES, *plugins]))

    def __len__(self) -> int:
        return len(list(iter(self)))


SAMPLERS = SamplerNames()

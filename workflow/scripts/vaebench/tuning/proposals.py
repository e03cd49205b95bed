"""Which setting a trial tries, from those that were tried before it."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from vaebench.config.search_space import Choices, Span, TuningSettings, range_of

RANDOM_AT_FIRST = 5  # trials that are drawn at random before the sampler learns from them
COMPLETE_BEFORE_PRUNING = 4  # trials whose median the next ones are held against


def distributions(search: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Optuna's distributions of a search space, by the path of the option, in alphabetical order."""
    return {path: _distribution(range_of(given)) for path, given in sorted(search.items())}


def propose(settings: TuningSettings, before: Sequence[FrozenTrial], worker: int) -> dict[str, Any]:
    """The next setting, by the path of each option.

    It depends on nothing but the trials `before`, finished or not, and the number of the worker who asks: a worker that
    was killed goes on as if it had not been, and two that ask at a time get different answers.
    """
    seed = derived_seed(settings.seed, "proposal", len(before), worker)
    study = optuna.create_study(sampler=_sampler(settings.sampler, seed))
    study.add_trials(before)
    return study.ask(distributions(settings.search)).params


def pruner_of(settings: TuningSettings) -> BasePruner:
    """The rule by which a trial ends early: the same for all entries.

    `median`: its best value so far is worse than the median of the complete trials at the same epoch; not in its first
    quarter, nor before there are some complete trials.
    """
    if settings.pruner == "none":
        return NopPruner()
    return MedianPruner(n_startup_trials=COMPLETE_BEFORE_PRUNING, n_warmup_steps=1 + settings.epochs // 4)


def derived_seed(*parts: object) -> int:
    """A seed from 0 to 2^31 - 1 that depends on all parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _distribution(space: Span | Choices) -> BaseDistribution:
    if isinstance(space, Choices):
        return CategoricalDistribution(space.values)
    if space.whole:
        return IntDistribution(int(space.low), int(space.high), log=space.log)
    return FloatDistribution(float(space.low), float(space.high), log=space.log)


def _sampler(name: str, seed: int) -> BaseSampler:
    return RandomSampler(seed) if name == "random" else TPESampler(seed=seed, n_startup_trials=RANDOM_AT_FIRST)

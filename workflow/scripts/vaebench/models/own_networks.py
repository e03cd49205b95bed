"""A user's own networks and models, built and tried once before any job starts.

Snakemake deletes an old model before it trains a new one, so a network that cannot be imported must be noticed before.
"""

from collections.abc import Iterable

from vaebench.base.errors import UserError
from vaebench.base.own_code import told
from vaebench.models.catalog import NETS
from vaebench.models.lookup import info_of
from vaebench.models.own_models import own_class
from vaebench.models.run_spec import ModelSpec, RunSpec


def own_networks(spec: ModelSpec) -> list[str]:
    """A run's model and networks that are not of this package: dotted paths, and families that plugins add."""
    own = [spec.model] if spec.model and info_of(spec.model).is_open else []
    names = [network.name for network in spec.networks.values()]
    return own + [name for name in names if "." in name or (name in NETS and NETS[name].added)]


def mistakes_of(specs: Iterable[RunSpec], input_shape: tuple[int, int, int] | None) -> list[str]:
    """Why the models and networks of the runs `specs` cannot be used, a line for each run; empty when all can.

    They are imported; unless `input_shape` (C, H, W) is None, the models are built and given random images of it.
    """
    mistakes = []
    for spec in specs:
        try:
            _try(spec, input_shape)
        except Exception as error:  # user's code: whatever it raises is reported
            mistakes.append(f"{spec.run}: {', '.join(dict.fromkeys(own_networks(spec)))}: {told(error)}")
    return mistakes


def _try(spec: RunSpec, input_shape: tuple[int, int, int] | None) -> None:
    from vaebench.models.building import build_model, check_components, has_batch_norm
    from vaebench.models.networks.families import import_network
    from vaebench.models.trial_step import try_model

    if input_shape is not None and spec.pretrained is None:
        model = build_model(spec, input_shape)
        check_components(model, model.objectives(), spec.training.components)
        batch_norm = has_batch_norm(model)
        if spec.training.batch_size < (smallest := info_of(spec.model_name).smallest_step(batch_norm)):
            raise UserError(f"training.batch_size must be at least {smallest} for {spec.model} with batch norm")
        try_model(model, max(2, smallest))
        return
    if spec.model is not None and info_of(spec.model).is_open:
        own_class(spec.model)
    for role, network in spec.networks.items():
        if (name := network.name) in own_networks(spec):
            NETS[name].added[role].load() if name in NETS else import_network(name)

"""What is minimised: a list of objectives, each a loss, the parameters that follow it, their optimizer and scheduler.

pythae has four trainers; they differ in nothing but this list. Each of pythae's trainers lets the gradient of one loss
leak into the parameters of another (docs/vaegan-gradient.md); `step` gives each objective the gradient of its own loss,
and `step_as_pythae` repeats theirs, for comparison.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pythae.models import BaseAE
from pythae.models.base.base_utils import ModelOutput
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vaebench.base.errors import UserError
from vaebench.config.optimizers import make_optimizer, make_scheduler, step_scheduler
from vaebench.models.catalog import MODELS

# The names of pythae's outputs in the history. reg_loss is the KL divergence or the model's own estimate of it.
TERMS = {
    "loss": "loss",
    "recon_loss": "reconstruction_loss",
    "reg_loss": "kl",
    "vq_loss": "vq",
    "mmd_loss": "mmd",
    "embedding_loss": "embedding",
    "gen_reg_loss": "gradient_penalty",
    "encoder_loss": "encoder_loss",
    "decoder_loss": "decoder_loss",
    "autoencoder_loss": "autoencoder_loss",
    "discriminator_loss": "discriminator_loss",
}


@dataclass
class Objective:
    """One loss and what it trains; `name` is also its key under `training.components`.

    `mixture` says by which weights its gradient is a sum of the gradients, in its parameters, of the losses of others;
    it is empty where it is not one.
    """

    name: str
    parameters: list[nn.Parameter]
    optimizer: Optimizer
    scheduler: LRScheduler | None
    mixture: Mapping[str, float] = field(default_factory=dict)

    def loss(self, losses: Mapping[str, Tensor]) -> Tensor:
        """This objective's loss among the `losses` of a batch."""
        return losses["loss" if self.name == "model" else f"{self.name}_loss"]

    def updates(self, output: ModelOutput) -> bool:
        """Whether this batch trains it: VAEGAN lets its discriminator and decoder wait for each other."""
        return bool(output.get(f"update_{self.name}", True))

    @property
    def learning_rate(self) -> float:
        """The present learning rate of its first group of parameters."""
        return float(self.optimizer.param_groups[0]["lr"])


def make_objectives(model: BaseAE, training: Mapping) -> list[Objective]:
    """The objectives of `model` in the order in which pythae's trainers step them.

    `training` is the resolved training block; `training["components"]` overrides learning rate, optimizer and scheduler
    by component. Raises `UserError` for a component the model does not have, or an optimizer that torch does not have.
    """
    components = MODELS[model.model_name].components or ("model",)
    unknown = set(training["components"]) - set(components)
    if unknown:
        known = ", ".join(MODELS[model.model_name].components) or "none: it has a single optimizer"
        raise UserError(f"training.components: {model.model_name} has no {', '.join(sorted(unknown))} (it has {known})")
    parameters = {
        "model": [model],
        "autoencoder": [model.encoder, model.decoder],
        "encoder": [model.encoder],
        "decoder": [model.decoder],
        "discriminator": [getattr(model, "discriminator", None)],
    }
    objectives = []
    for name in components:
        settings = {**training, **training["components"].get(name, {})}
        owned = [parameter for module in parameters[name] for parameter in module.parameters()]
        decay = {"weight_decay": model.model_config.reg_weight} if _is_rae_l2_decoder(model, name) else {}
        optimizer = make_optimizer(owned, settings, decay, fused=training["gradients"] == "exact")
        trained = [parameter for parameter in owned if parameter.requires_grad]
        scheduler = make_scheduler(optimizer, settings["scheduler"])
        objectives.append(Objective(name, trained, optimizer, scheduler, _mixture(model, name)))
    return objectives


def losses_of(output: ModelOutput, kind: str, training: Mapping) -> dict[str, Tensor]:
    """Each loss term of a batch as a scalar tensor, under its name in `TERMS`; "loss" is what is minimised in all.

    `kind` is the catalog's trainer kind. `training["vq_scale"]` is `mean`, pythae 0.1.2's average over all numbers of
    the grid, or `per_image`, the sum over the grid as in the paper (van den Oord et al. 2017, arXiv 1711.00937, eq. 3),
    which is on the scale of the reconstruction term.
    """
    terms = {name: output[key] for key, name in TERMS.items() if output.get(key) is not None}
    terms = {name: value.mean() if value.ndim else value for name, value in terms.items()}
    if "vq" in terms and training["vq_scale"] == "per_image":
        terms["vq"] = terms["vq"] * output.z[0].numel()
        terms["loss"] = terms["reconstruction_loss"] + terms["vq"]
    if kind == "coupled_adversarial":
        terms["kl"] = terms["encoder_loss"] - terms["reconstruction_loss"]
    if kind == "coupled" and training["gradients"] == "pythae":  # counts RAE_L2's one loss twice
        terms["loss"] = terms["encoder_loss"] + terms["decoder_loss"]
    return terms


def step(objectives: Sequence[Objective], output: ModelOutput, losses: Mapping[str, Tensor]) -> None:
    """One update: each objective that this batch trains follows the gradient of its own loss, all at one point.

    The gradient of a mixture comes along with those that it is mixed of, at little more than their price.
    """
    active = [objective for objective in objectives if objective.updates(output)]
    passes = []
    for source in objectives:
        reached = [other for other in active if source.name in other.mixture or (other is source and not other.mixture)]
        if reached:
            passes.append((source, reached))
    for objective in active:
        objective.optimizer.zero_grad(set_to_none=True)
    for source, reached in passes:
        former = [_take_gradients(other) if other.mixture else [] for other in reached]
        inputs = [parameter for other in reached for parameter in other.parameters]
        source.loss(losses).backward(inputs=inputs, retain_graph=source is not passes[-1][0])
        for other, gradients in zip(reached, former, strict=True):
            if other.mixture:
                _mix(other.parameters, other.mixture[source.name], gradients)
    for objective in active:
        objective.optimizer.step()


def _take_gradients(objective: Objective) -> list[Tensor | None]:
    """The gradients that its parameters have so far, taken away from them."""
    gradients = [parameter.grad for parameter in objective.parameters]
    for parameter in objective.parameters:
        parameter.grad = None
    return gradients


def _mix(parameters: Sequence[nn.Parameter], weight: float, former: Sequence[Tensor | None]) -> None:
    """Make each gradient `weight` times itself plus the former one."""
    for parameter, gradient in zip(parameters, former, strict=True):
        if parameter.grad is not None:
            parameter.grad.mul_(weight)
        if gradient is not None:
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)


def step_as_pythae(objectives: Sequence[Objective], output: ModelOutput, losses: Mapping[str, Tensor]) -> None:
    """One update as pythae 0.1.2's trainers do it: each backward reaches all parameters, and some gradients add up."""
    active = [objective for objective in objectives if objective.updates(output)]
    for objective in active:
        objective.optimizer.zero_grad()
        objective.loss(losses).backward(retain_graph=len(active) > 1)
    for objective in active:
        objective.optimizer.step()


def step_schedulers(objectives: Sequence[Objective], losses: Mapping[str, float]) -> None:
    """After an epoch: every scheduler moves on, ReduceLROnPlateau by the validation value of its objective's loss."""
    for objective in objectives:
        if objective.scheduler is not None:
            step_scheduler(objective.scheduler, objective.loss(losses))


def _mixture(model: BaseAE, name: str) -> dict[str, float]:
    """VAEGAN's decoder follows (1 - a) reconstruction loss - a discriminator loss, a being `adversarial_loss_scale`.

    The encoder's loss is the reconstruction loss and a KL divergence, which no parameter of the decoder changes.
    """
    if model.model_name != "VAEGAN" or name != "decoder":
        return {}
    scale = model.adversarial_loss_scale
    return {"encoder": 1 - scale, "discriminator": -scale}


def _is_rae_l2_decoder(model: BaseAE, name: str) -> bool:
    """RAE_L2's reg_weight is the weight decay of its decoder; pythae sets it outside its trainer."""
    return model.model_name == "RAE_L2" and name == "decoder"

"""The fields by which a model is trained on more than its own loss, without importing torch.

`l1: w` adds w Σ |x - x̂|. `perceptual` adds LPIPS (Zhang et al. 2018). `adversarial` adds a discriminator of patches
(Isola et al. 2017) whose judgement the decoder follows. With them a quantising autoencoder is a VQGAN (Esser et al.
2021), and one with a small KL term the first stage of latent diffusion (Rombach et al. 2022).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from vaebench.models.catalog import ADVERSARIAL, ModelInfo, Shape
from vaebench.models.fields import COUNT, NOT_NEGATIVE, POSITIVE
from vaebench.models.options import Alternatives, number, whole, why_no_number, word

ADAPTIVE = "adaptive"
FIELDS: Mapping[str, object] = {"l1": 0.0, "perceptual": None, "adversarial": None}
TERMS = Alternatives(
    kind="loss term",
    example="{perceptual: {network: vgg16, weight: 1.0}}",
    options={
        "perceptual": {"network": word("vgg16", "alexnet"), "weight": number(1.0, POSITIVE)},
        "adversarial": {
            "discriminator": word("patch"),
            "start": whole(0, NOT_NEGATIVE),
            "weight": number(ADAPTIVE, NOT_NEGATIVE, (ADAPTIVE,)),
            "factor": number(1.0, POSITIVE),
            "loss": word("hinge"),
            "layers": whole(3, COUNT),
            "channels": whole(64, COUNT),
        },
    },
)
SMALLEST = {"vgg16": 16, "alexnet": 31}  # side in pixels that a trunk takes, as `lpips.LAYOUTS`; a test compares them
# By name, so that an edit of one makes only those models stale that are trained on it.
MODULES = {"perceptual": "vaebench.models.terms.lpips", "adversarial": "vaebench.models.terms.patch_gan"}
Info = TypeVar("Info", bound=ModelInfo)


def why_no_term(name: str, value: object) -> str | None:
    """Why `value` cannot be the field `name` of `FIELDS`; None where it can."""
    if name == "l1":
        return why_no_number(value, NOT_NEGATIVE)
    return None if value is None else TERMS.why_not({name: value})


def why_too_small(config: Mapping[str, Any], shape: Shape) -> str | None:
    """Why images of `shape` (C, H, W) are too small for a term of a sound configuration; None where they are not."""
    chosen, side = chosen_terms(config), min(shape[1:])
    if "adversarial" in chosen:
        layers = chosen["adversarial"]["layers"]
        least = 3 * 2**layers  # the last two convolutions take a pixel each off the grid, and one is left
        if side < least:
            return f"adversarial: a discriminator of {layers} layers takes images of at least {least}x{least}"
    if "perceptual" in chosen and side < (least := SMALLEST[chosen["perceptual"]["network"]]):
        return f"perceptual: {chosen['perceptual']['network']} takes images of at least {least}x{least}"
    return None


def chosen_terms(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The options, defaults among them, of each of `TERMS` that a sound configuration has."""
    given = {name: config[name] for name in TERMS.options if config.get(name) is not None}
    return {name: TERMS.chosen({name: value})[1] for name, value in given.items()}


def with_terms(info: Info, config: Mapping[str, Any]) -> Info:
    """What is known of a model with these fields in its configuration."""
    chosen = chosen_terms(config)
    added = [*(["l1"] if config.get("l1") else []), *(["perceptual"] if "perceptual" in chosen else [])]
    known = replace(info, terms=(*info.terms, *added))
    if "perceptual" in chosen:
        known = replace(known, trained_on=(chosen["perceptual"]["network"],))
    if "adversarial" in chosen:
        known = replace(known, trainer=ADVERSARIAL, exact_only=True, recordable=False)
    return known

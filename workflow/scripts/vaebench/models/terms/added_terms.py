"""A model that is trained on more than its own loss: `l1`, `perceptual`, `adversarial` (see `term_fields`)."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaebench.models.conditioning import Conditioning
from vaebench.models.interface import Autoencoder, Losses, Moment, Objective
from vaebench.models.label_names import label_values
from vaebench.models.terms.term_fields import MODULES, chosen_terms


class AddedTerms(nn.Module):
    """The terms of a configuration, for images of `channels` channels; without any it changes nothing.

    LPIPS is multiplied by the number of an image's values, as if it were added to the error of each, which is what the
    weights in the literature mean (Esser et al. 2021, Rombach et al. 2022).
    """

    def __init__(self, channels: int, config: Mapping[str, Any]) -> None:
        super().__init__()
        chosen = chosen_terms(config)
        self.l1 = float(config.get("l1") or 0.0)
        self.perceptual = chosen.get("perceptual")
        self.lpips: Any = None
        self.adversarial: Any = None
        if "adversarial" in chosen:
            self.adversarial = import_module(MODULES["adversarial"]).Adversarial(channels, chosen["adversarial"])

    def take_weights(self, files: Mapping[str, Path] | None) -> None:
        """See `Autoencoder.take_weights`."""
        if self.perceptual is not None:
            network, lpips = self.perceptual["network"], import_module(MODULES["perceptual"])
            self.lpips = lpips.Lpips(lpips.layout_of(network), None if files is None else files[network])

    def networks(self) -> dict[str, nn.Module]:
        """The discriminator, and the trunk of LPIPS."""
        found = {} if self.adversarial is None else {"discriminator": self.adversarial.discriminator}
        return found if self.lpips is None else {**found, "lpips": self.lpips.trunk}

    def reconstruction(self, x: Tensor, y: Tensor, error: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The model's own `error` and what is added to it, and the added terms by name."""
        terms, total = {}, error
        if self.l1:
            terms["l1"] = (x - y).abs().flatten(1).sum(1).mean()
            total = total + self.l1 * terms["l1"]
        if self.perceptual is not None:
            terms["perceptual"] = self._distance(x, y)
            total = total + self.perceptual["weight"] * x[0].numel() * terms["perceptual"]
        return total, terms

    def _distance(self, x: Tensor, y: Tensor) -> Tensor:
        """LPIPS, the mean over the images."""
        if self.lpips is None:
            raise RuntimeError("a model with a perceptual term is trained after `take_weights`")
        with torch.no_grad():
            real = self.lpips.activations(x)
        return torch.stack(self.lpips.stage_distances(self.lpips.activations(y), real)).sum(0).mean()


class ModelWithTerms(Autoencoder):
    """An encoder and a decoder for images of `shape` (C, H, W), both of which may be given labels (`conditional`).

    networks: encoder and decoder; fields: the configuration. Subclasses compute their own losses and hand them to
    `with_added`, which adds the terms that the configuration asks for.
    """

    def __init__(
        self, shape: tuple[int, int, int], networks: tuple[nn.Module, nn.Module], fields: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.input_shape = shape
        self.added = AddedTerms(shape[0], fields)
        self.trained_on = () if self.added.perceptual is None else (self.added.perceptual["network"],)
        self.encoder, self.decoder = networks
        self.labels = label_values(fields)
        self.conditioning = Conditioning(self.labels, shape) if self.labels else None

    def encoder_output(self, x: Tensor) -> Any:
        """What the encoder gives for images x (B, C, H, W), and for their labels where it is given them."""
        if self.conditioning is not None:
            x = self.conditioning.image(x, self.condition)
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Images of latents z and of the labels where the decoder is given them."""
        if self.conditioning is not None:
            z = self.conditioning.latent(z, self.condition)
        images: Tensor = self.decoder(z).reconstruction
        return images

    def probabilities(self) -> Sequence[tuple[nn.Module, str]]:
        """The decoder, where it is trained on cross-entropy."""
        return [(self.decoder, "reconstruction")] if self.likelihood == "bernoulli" else []

    def take_weights(self, files: Mapping[str, Path] | None) -> None:
        """The weights of the perceptual term."""
        self.added.take_weights(files)

    def networks(self) -> dict[str, nn.Module]:
        """Its own networks and those of the added terms."""
        return super().networks() | self.added.networks()

    def objectives(self) -> Sequence[Objective]:
        """One, or two where there is a discriminator: everything else follows the autoencoder's loss."""
        if self.added.adversarial is None:
            return super().objectives()
        judging = list(self.added.adversarial.discriminator.parameters())
        own = {id(parameter) for parameter in judging}
        others = [parameter for parameter in self.parameters() if id(parameter) not in own]
        return [
            Objective("autoencoder", "autoencoder_loss", others),
            Objective("discriminator", "discriminator_loss", judging),
        ]

    def with_added(
        self, images: tuple[Tensor, Tensor], terms: dict[str, Tensor], rest: Tensor, moment: Moment
    ) -> Losses:
        """The losses of a batch x whose reconstruction is y, `images` being both.

        terms: the model's own, of which `reconstruction_loss` is the error of y; rest: what is minimised besides.
        """
        x, y = images
        error, added = self.added.reconstruction(x, y, terms["reconstruction_loss"])
        terms = {**terms, **added}
        if self.added.adversarial is None:
            return Losses({"loss": error + rest, **terms})
        waiting = moment.step <= self.added.adversarial.start
        if waiting:
            generator = discriminator = weight = torch.zeros_like(error)
        else:
            generator, discriminator, weight = self.added.adversarial(x, y, error, self._last_layer())
        autoencoder = error + rest + weight * generator
        terms = {
            "loss": autoencoder + discriminator,
            "autoencoder_loss": autoencoder,
            "discriminator_loss": discriminator,
            **terms,
            "adversarial": generator,
            "adversarial_weight": weight,
        }
        return Losses(terms, {"discriminator": waiting})

    def _last_layer(self) -> nn.Parameter:
        """The decoder's last matrix or kernel."""
        matrices = [each for each in self.decoder.parameters() if each.ndim > 1 and each.requires_grad]
        return matrices[-1]

"""RAE_L2, whose decoder decays."""

from dataclasses import replace

from vaebench.models.interface import Objective
from vaebench.models.providers.pythae.point import Model as Point


class Model(Point):
    """Its `reg_weight` is the weight decay of its decoder; pythae sets it outside its trainer."""

    def objective(self, name: str) -> Objective:
        """Encoder or decoder."""
        found = super().objective(name)
        decay = {"weight_decay": self.model_config.reg_weight} if name == "decoder" else {}
        return replace(found, options=decay)

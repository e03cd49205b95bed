"""Latents from the standard normal prior."""

from vaebench.sampling.request import Drawn, Request


def draw(request: Request) -> Drawn:
    """Independent standard normal numbers."""
    return Drawn(request.noise())

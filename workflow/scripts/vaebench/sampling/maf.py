"""Latents from a masked autoregressive flow that is fitted to those of the training images (Papamakarios et al. 2017).

Fitting is fast, drawing takes a pass for each dimension.
"""

from vaebench.sampling.fitted_flow import draw_by_flow
from vaebench.sampling.request import Drawn, Request


def draw(request: Request) -> Drawn:
    """Draws of a flow whose layers go from latents to noise."""
    return draw_by_flow(request, quick_density=True)

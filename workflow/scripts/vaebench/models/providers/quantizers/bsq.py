"""Binary spherical quantisation (Zhao et al. 2024, arXiv 2406.07548): the signs of a vector of length 1."""

from vaebench.models.providers.quantizers.lfq import Signs


class SphericalSigns(Signs):
    """As LFQ, on the unit sphere, so that the distance of a vector and its code is bounded."""

    spherical = True


BUILD = SphericalSigns

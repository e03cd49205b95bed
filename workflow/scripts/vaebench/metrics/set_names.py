"""What the metrics of sets of images are called, by the network whose features they are computed in."""

from vaebench.models.feature_networks import FEATURE_NETWORKS

OFFICIAL, CUSTOM = "inception", "custom_inception"  # by the file's sha256, see metrics/features/extractors.py
FEATURES = (*FEATURE_NETWORKS.own, CUSTOM)


def frechet_name(features: str, what: str = "") -> str:
    """The name of a Fréchet distance: `fd_vgg16`, `fd_floor_vgg16`; `fid`, `fid_floor` for the official Inception file.

    what: "" for generated, "floor" for training, "midpoint" for interpolated images, "r" for reconstructions.
    """
    official = features == OFFICIAL
    if what == "r":
        return "rfid" if official else f"rfd_{features}"
    middle = f"_{what}" if what else ""
    return f"fid{middle}" if official else f"fd{middle}_{features}"


def kernel_name(features: str) -> str:
    """The name of the kernel distance of generated images: `kd_vgg16`; `kid` for the official Inception file."""
    return "kid" if features == OFFICIAL else f"kd_{features}"

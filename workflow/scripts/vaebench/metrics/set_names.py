"""What the metrics of sets of images are called, by the network whose features they are computed in."""

from vaebench.models.feature_networks import FEATURE_NETWORKS

OFFICIAL, CUSTOM = "inception", "custom_inception"  # by the file's sha256, see metrics/features/extractors.py
CLEAN = "clean_inception"  # the official network behind an antialiased resize
FEATURES = (*FEATURE_NETWORKS.own, CUSTOM)


def frechet_name(features: str, what: str = "") -> str:
    """The name of a Fréchet distance: `fd_vgg16`, `fd_floor_vgg16`; `fid`, `fid_floor` for the official Inception file.

    what: "" for generated, "floor" for training, "midpoint" for interpolated images, "r" for reconstructions.
    """
    if features == CLEAN:
        return f"clean_{frechet_name(OFFICIAL, what)}"
    official = features == OFFICIAL
    if what == "r":
        return "rfid" if official else f"rfd_{features}"
    middle = f"_{what}" if what else ""
    return f"fid{middle}" if official else f"fd{middle}_{features}"


def kernel_name(features: str) -> str:
    """The name of the kernel distance of generated images: `kd_vgg16`; `kid` for the official Inception file."""
    return {OFFICIAL: "kid", CLEAN: "clean_kid"}.get(features, f"kd_{features}")


def prd_names(features: str) -> tuple[str, str]:
    """The names of the two F scores of PRD: F8, which weighs recall, and F1/8, which weighs precision."""
    return f"prd_f8_{features}", f"prd_f1_8_{features}"

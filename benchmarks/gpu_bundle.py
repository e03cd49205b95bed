"""What `make check-gpu` needs on a machine that has PyTorch and a GPU but no network: at most 64 MiB.

`gpu_bundle.py pack FOLDER`, where there is a network, gathers the wheels that such a machine lacks (in the versions of
this environment, for the Python named by --python), the demo's face generator, and the weights of the perceptual
metrics as float16. `gpu_bundle.py unpack FOLDER`, on the other machine and in the root of the checkout, installs the
wheels into FOLDER/site, puts the rest where the pipeline has it, and prints the line that sets PYTHONPATH, with which
check_gpu.py runs there. The weights are rounded to float16: good for measuring time and for comparing one device with
another, not for results.
"""

import argparse
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "annotated-types",
    "beautifulsoup4",
    "diffusers",
    "einx",
    "frozendict",
    "gdown",
    "importlib-metadata",
    "jsonschema",
    "jsonschema-specifications",
    "loguru",
    "lpips",
    "piq",
    "pydantic",
    "pydantic-core",
    "pythae",
    "referencing",
    "rpds-py",
    "simplejpeg",
    "soupsieve",
    "torch-einops-utils",
    "torch-fidelity",
    "typing-inspection",
    "vector-quantize-pytorch",
)
GLIBC = (17, 24, 27, 28, 31, 34, 35)  # wheels are tagged with the oldest version they run with
LIMIT = 64 * 2**20


def main() -> None:
    """Pack or unpack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("pack", "unpack"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="the other machine's Python (default 3.12)")
    options = parser.parse_args()
    if options.action == "pack":
        pack(options.folder, options.python)
    else:
        unpack(options.folder)


def pack(folder: Path, python: str) -> None:
    """Fill `folder`; end with an error when it is over the limit."""
    import torch

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in GLIBC] + ["--platform=manylinux2014_x86_64"]
    wanted = [f"{name}=={version(name)}" for name in PACKAGES]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run(
        [*command, f"--python-version={python}", *platforms, "--dest", str(folder / "wheels"), *wanted], check=True
    )
    shutil.copy(ROOT / "data/packages/gan_face_generate.archive", folder)
    for network in ("vgg16", "alexnet"):
        weights = torch.load(ROOT / f"data/weights/{network}.pt", weights_only=True)
        torch.save({name: value.half() for name, value in weights.items()}, folder / f"{network}.pt")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 2**20:.1f} MiB")
    if size > LIMIT:
        sys.exit(f"that is more than {LIMIT / 2**20:.0f} MiB")


def unpack(folder: Path) -> None:
    """Install the wheels into `folder`/site and put weights and generator where the pipeline looks for them."""
    import torch

    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-compile",
        "--upgrade",
    ]
    wheels = sorted(map(str, (folder / "wheels").glob("*.whl")))
    subprocess.run([*command, "--target", str(folder / "site"), *wheels], check=True)
    for name in ("data/packages", "data/weights"):
        (ROOT / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "gan_face_generate.archive", ROOT / "data/packages")
    for network in ("vgg16", "alexnet"):
        weights = torch.load(folder / f"{network}.pt", weights_only=True)
        torch.save({name: value.float() for name, value in weights.items()}, ROOT / f"data/weights/{network}.pt")
    print(f"export PYTHONPATH={(folder / 'site').resolve()}:{ROOT / 'workflow/scripts'}")


if __name__ == "__main__":
    main()

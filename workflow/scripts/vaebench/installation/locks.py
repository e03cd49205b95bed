"""Which of the two locks suits a machine's NVIDIA driver and GPUs; as a script it prints the lock's name.

`make install` asks before anything is installed, so that only the standard library is imported here.
"""

import subprocess
from collections.abc import Sequence

CURRENT, CUDA12 = "requirements.lock", "requirements-cuda12.lock"
# The oldest Linux driver for each major version of CUDA (CUDA compatibility guide, minor version compatibility).
DRIVERS = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
CURRENT_FROM = (7, 5)  # Turing: the oldest GPUs that torch for CUDA 13 has code for
CUDA12_FROM = (5, 0)  # Maxwell: those that torch 2.7.1 for CUDA 12.6 has


def lock_for(driver: str | None, capabilities: Sequence[tuple[int, int]]) -> str | None:
    """The lock for an NVIDIA driver (580.65.06, say; None without one) and the compute capabilities of the GPUs.

    None when neither will do: the driver or a GPU is too old for both.
    """
    if driver is None:
        return CURRENT
    oldest = min(capabilities, default=CURRENT_FROM)
    if numbers(driver) >= numbers(DRIVERS[13]) and oldest >= CURRENT_FROM:
        return CURRENT
    return CUDA12 if numbers(driver) >= numbers(DRIVERS[12]) and oldest >= CUDA12_FROM else None


def numbers(version: str) -> tuple[int, ...]:
    """A dotted version as numbers, to be compared."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def installed_gpus() -> tuple[str | None, list[tuple[int, int]]]:
    """The driver and the GPUs' compute capabilities as nvidia-smi tells them; (None, []) where it is not there."""
    command = ["nvidia-smi", "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None, []
    rows = [[field.strip() for field in line.split(",")] for line in lines if line.count(",") == 1]
    versions = [numbers(capability) for _, capability in rows]
    return (rows[0][0] if rows else None), [(parts[0], parts[1]) for parts in versions if len(parts) == 2]


if __name__ == "__main__":
    print(lock_for(*installed_gpus()) or CURRENT)

"""The device of these tests: a GPU, or in a rehearsal the CPU, so that no line here is first run on a GPU machine."""

import os
import sys
from pathlib import Path

import pytest
import torch

UNIT = str(Path(__file__).parents[1] / "unit")
if UNIT not in sys.path:
    sys.path.insert(0, UNIT)


@pytest.fixture(scope="session")
def device() -> str:
    """`cuda`, or `cpu` where VAEBENCH_REHEARSAL is set; the test is skipped where there is neither."""
    if torch.cuda.is_available():
        return "cuda"
    if os.environ.get("VAEBENCH_REHEARSAL"):
        return "cpu"
    pytest.skip("needs a CUDA device: torch sees none (VAEBENCH_REHEARSAL=1 runs the same lines on the CPU)")

"""The registry: complete, consistent, free of torch, and the same as docs/metrics.md."""

import subprocess
import sys
from pathlib import Path

import pytest

from vaebench.metrics.registry import METRICS, SUITES, describe

ROOT = Path(__file__).parents[2]


def test_names_are_keys_and_suites_are_known():
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.suite in SUITES
        assert metric.label
        assert metric.symbol
        assert metric.formula
        assert metric.range


def test_the_registry_needs_no_heavy_import():
    code = "import sys, vaebench.metrics.registry; print([m for m in ('torch', 'numpy', 'pandas') if m in sys.modules])"
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(ROOT / "workflow/scripts"), "PATH": ""}
    assert subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_qualified_name_takes_its_base_entry():
    assert describe("probe_auc/Smiling").label == "probe AUC (Smiling)"
    assert describe("probe_auc/Smiling").higher_is_better is True
    with pytest.raises(KeyError):
        describe("nonsense/Smiling")


def test_every_metric_is_documented():
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    missing = [
        name for name in METRICS if f"`{name}`" not in page and not name.startswith(("sampled_", "self_", "legacy_"))
    ]
    assert missing == []

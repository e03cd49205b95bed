import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation_cases import compact_spec

from vaebench.base.canonical import canonical
from vaebench.base.fingerprint import HARMLESS, PACKAGE, Code, Sources, code_fingerprint, files_of
from vaebench.base.source_facts import facts_of, imported_modules
from vaebench.models.fields import COUNT
from vaebench.models.lookup import code_of_run, code_of_training
from vaebench.models.options import whole
from vaebench.models.providers.pythae.catalog import MODELS, SPECIAL
from vaebench.models.sampler_options import SAMPLER_OPTIONS
from vaebench.sampling.choice import code_of_sampler

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"


@pytest.fixture(params=[None, "kept"])
def project(tmp_path, request):
    """A script that imports one module of a package, which imports another and reads a template."""
    package = tmp_path / "vaebench"
    package.mkdir()
    (package / "__init__.py").write_text('"""A package."""\n')
    (package / "low.py").write_text("def low(x):\n    return x + 1\n")
    (package / "high.py").write_text(
        'from vaebench.low import low\n\nTEMPLATE = "page.html"\n\ndef high(x):\n    return low(x)\n'
    )
    (package / "other.py").write_text("VALUE = 1\n")
    (package / "log.py").write_text("def job(): ...\n")
    (package / "page.html").write_text("<p>")
    script = tmp_path / "script.py"
    script.write_text("from vaebench.high import high\nfrom vaebench.base.log import job\n\nhigh(1)\n")
    return script, Sources(package, request.param and tmp_path / request.param)


def fingerprint(project):
    return code_fingerprint(*project)


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("low.py", "x + 1", "x + 2", True),
        ("high.py", "return low(x)", "return low(x) * 2", True),
        ("../script.py", "high(1)", "high(2)", True),
        ("page.html", "<p>", "<div>", True),
        ("other.py", "1", "2", False),
        ("log.py", "...", "pass", False),
        ("low.py", "    return x + 1", "    # why\n    return (x +\n        1)", False),
        ("low.py", "def low(x):\n", 'def low(x):\n    """Say what."""\n', False),
        ("__init__.py", "A package", "The package", False),
    ],
)
def test_changes_only_with_meaning(project, file, old, new, stale):
    before = fingerprint(project)
    path = project[1].package / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert (fingerprint(project) != before) == stale


def test_kept_facts_change_no_fingerprint_whatever_is_in_them(project, tmp_path):
    """A second process reads what the first one kept; what is damaged, or cannot be written, is worked out anew."""
    script, package = project[0], project[1].package
    kept = Sources(package, tmp_path / "facts")
    facts_of.cache_clear()
    expected = code_fingerprint(script, kept)
    assert expected == fingerprint(project)
    files = sorted(kept.kept.iterdir())
    assert len(files) == 4  # the script, high, low and the package's __init__
    for file, damaged in zip(files, ("", "[]", "{}", None), strict=True):
        file.unlink() if damaged is None else file.write_text(damaged)
    facts_of.cache_clear()
    assert code_fingerprint(script, kept) == expected
    assert all(json.loads(file.read_text())["meaning"] for file in files)
    facts_of.cache_clear()
    blocked = tmp_path / "a_file"
    blocked.write_text("")
    assert code_fingerprint(script, Sources(package, blocked)) == expected


def test_kept_facts_are_read_instead_of_parsing(project, tmp_path, monkeypatch):
    kept = Sources(project[1].package, tmp_path / "facts")
    expected = code_fingerprint(project[0], kept)
    facts_of.cache_clear()
    monkeypatch.setattr("vaebench.base.source_facts.canonical.canonical", None)
    assert code_fingerprint(project[0], kept) == expected


def test_imports_inside_functions_and_relative_ones_count(project):
    script, package = project[0], project[1].package
    (package / "other.py").write_text("def f():\n    from . import low\n    return low\n")
    script.write_text("def main():\n    import vaebench.other\n")
    before = fingerprint(project)
    (package / "low.py").write_text("def low(x):\n    return x - 1\n")
    assert fingerprint(project) != before
    assert imported_modules("from .low import low", "vaebench.other") == ("vaebench.low", "vaebench.low.low")


def test_only_names_and_constants_of_code_remain():
    assert canonical('"""Doc."""\nx=1  # one') == canonical("x = 1")
    assert canonical("x = 1") != canonical("x = 2")
    assert canonical("def f():\n    'doc'\n    return 1") == canonical("def f():\n    return 1")
    assert canonical("x = None") != canonical("x = 0")


# By script, the packages that it may depend on; beside those, all depend on `base`.
IMAGES, MADE = {"data"}, {"data", "download"}
MEASURED = {"metrics", "results"}
SHOWN = MEASURED | {"figures", "models", "report"}
ALLOWED = {
    "added_images.py": {"data"},
    "added_tables.py": {"results"},
    "annotate.py": IMAGES,
    "budget.py": {"models", "results"},
    "choose.py": {"config", "models", "tuning"},
    "classes.py": IMAGES,
    "demo_images.py": MADE,
    "download.py": MADE,
    "evaluate.py": MEASURED | {"data", "evaluation", "models", "sampling"},
    "evaluate_samples.py": MEASURED | {"data", "evaluation", "models", "sampling"},
    "fashion_images.py": MADE,
    "figures.py": MEASURED | {"figures"},
    "mnist_images.py": MADE,
    "own_code.py": {"metrics", "models"},
    "package.py": {"download"},
    "paper.py": SHOWN,
    "preprocess.py": IMAGES,
    "pretrained.py": {"models"},
    "upload.py": {"models"},
    "published.py": MEASURED | {"data", "models"},
    "report.py": SHOWN,
    "runs_table.py": MEASURED,
    "sample.py": {"models", "sampling"},
    "samplers_table.py": MEASURED,
    "showcase.py": {"models", "sampling"},
    "split.py": IMAGES,
    "summary.py": MEASURED,
    "train.py": {"config", "models", "training"},
    "tune.py": {"config", "models", "training", "tuning"},
    "unfinished.py": SHOWN,
    "validate.py": IMAGES,
    "weights.py": {"download", "metrics"},
}
METRICS = sorted(path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / "metrics").rglob("*.py"))


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_a_script_depends_on_the_packages_of_its_stage_only(script):
    left_out = ("__init__.py", "feature_networks.py", "generators.py")  # lists of names
    files = [path for path in files_of(SCRIPTS / script).values() if path.name not in left_out]
    packages = {path.relative_to(PACKAGE).parts[0] for path in files}
    assert packages - {"base"} <= ALLOWED[script]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A copy of the scripts, to be edited."""
    return shutil.copytree(SCRIPTS, tmp_path_factory.mktemp("library") / "scripts")


NOT_MEASURING = ("metrics/__init__.py", "metrics/features/weights.py", "metrics/trial.py")


@pytest.mark.parametrize("module", METRICS)
def test_an_edit_of_any_metric_reaches_no_data_training_or_sampling(library, module):
    """Every rule's fingerprint before and after: those that change belong to what is measured, tabulated and shown."""
    scripts, sources = sorted(library.glob("*.py")), Sources(library / "vaebench", library / "kept")
    before = {path.name: code_fingerprint(path, sources) for path in scripts}
    path = library / "vaebench" / module
    text = path.read_text()
    path.write_text(text + "\n\ndef added_by_a_test():\n    return 1\n")
    changed = {path.name for path in scripts if code_fingerprint(path, sources) != before[path.name]}
    path.write_text(text)
    assert "evaluate.py" in changed or module in NOT_MEASURING
    assert changed <= {script for script, packages in ALLOWED.items() if "metrics" in packages}


def modules_of(model, script):
    """The modules of the library that a job of this model may run, as its fingerprint has them."""
    spec = compact_spec(model)
    code = code_of_run(spec, measured=script == "evaluate.py")
    code = code.joined(code_of_sampler(spec)) if script == "sample.py" else code
    return set(files_of(SCRIPTS / script, also=code)) | HARMLESS


# What finds a model and its code, which the code itself does not depend on.
FINDING = {
    f"vaebench.{name}"
    for name in (
        "base.canonical",
        "base.fingerprint",
        "models.networks.code",
        "models.options",
        "models.own_models",
        "models.providers.deterministic",
        "models.providers.deterministic.catalog",
        "models.providers.deterministic.provider",
        "models.providers.likelihoods",
        "models.providers.likelihoods.catalog",
        "models.providers.likelihoods.provider",
        "models.providers.pythae.catalog",
        "models.providers.pythae.provider",
        "models.providers.quantizers",
        "models.providers.quantizers.catalog",
        "models.providers.quantizers.provider",
        "models.terms.term_fields",
        "models.terms.terms_code",
    )
}


@pytest.mark.parametrize("model", ["VQVAE", "VAEGAN"])
def test_all_that_a_run_loads_is_in_its_fingerprint_and_no_other_model_s(model, tmp_path):
    """Training, sampling and evaluation, in a process of its own."""
    loaded = loaded_modules(model, tmp_path)
    counted = set().union(*(modules_of(model, script) for script in ("train.py", "sample.py", "evaluate.py")))
    assert loaded <= counted | FINDING
    special = {f"vaebench.models.providers.pythae.{name}" for name in SPECIAL.values()}
    assert (
        loaded & special
        == counted & special
        == {f"vaebench.models.providers.pythae.{SPECIAL[model]}" for model in {model} & SPECIAL.keys()}
    )


WHOLE_RUN = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from evaluation_cases import SAMPLES, SETTINGS, evaluate, result_paths, sample, smooth_images, write_data
from training_cases import make_spec, run

spec, folder = make_spec(sys.argv[2]), Path(sys.argv[3])
images = smooth_images(48)
data = write_data(folder, {"train": images[:24], "eval": images[24:36], "test": images[36:]})
model = run(spec, {"train_data": data["train"], "eval_data": data["eval"]}, folder)["output"]
sample(model, data, folder / "samples.npz", {"name": "auto"}, SAMPLES, 0, 1)
evaluate(model, spec, 0, "x", data, folder / "samples.npz", {}, SETTINGS, None, result_paths(folder), 1)
print(*(name for name in sys.modules if name.startswith("vaebench.")))
"""


def loaded_modules(model, folder):
    """The modules of the library that a process has loaded which trained, sampled and evaluated a small model."""
    command = [sys.executable, "-c", WHOLE_RUN, str(Path(__file__).parent), model, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("module", "trained", "measured"),
    [
        ("models/providers/pythae/codebooks.py", {"VQVAE"}, {"VQVAE"}),
        ("models/providers/pythae/flows.py", {"VAE_IAF", "VAE_LinNF"}, {"VAE_IAF", "VAE_LinNF"}),
        ("models/providers/pythae/hamiltonian.py", {"HVAE", "RHVAE"}, {"HVAE", "RHVAE"}),
        ("models/providers/pythae/vaegan_terms.py", set(), {"VAEGAN"}),
        ("models/providers/pythae/original_study.py", set(), {"VAE", "BetaVAE", "VQVAE", "VAEGAN"}),
        ("models/providers/pythae/model.py", set(MODELS), set(MODELS)),
        ("models/networks/compact.py", set(MODELS), set(MODELS)),
        ("models/networks/spectral.py", set(), set()),
        ("models/networks/lapped.py", set(), set()),
        ("models/networks/families.py", set(MODELS), set(MODELS)),
        ("models/lookup.py", set(), set()),
    ],
)
def test_an_edit_of_a_family_makes_only_that_family_stale(module, trained, measured, library):
    path, sources = library / "vaebench" / module, Sources(library / "vaebench", library / "kept")
    text = path.read_text()
    found = {}
    for content in (text, text + "\n\ndef added_by_a_test():\n    return 1\n"):
        path.write_text(content)
        for model in MODELS:
            for script in ("train.py", "evaluate.py"):
                also = code_of_run(compact_spec(model), measured=script == "evaluate.py")
                fingerprint = code_fingerprint(library / script, sources, also=also)
                found.setdefault((script, model), set()).add(fingerprint)
    path.write_text(text)
    stale = {key for key, fingerprints in found.items() if len(fingerprints) == 2}
    assert {model for script, model in stale if script == "train.py"} == trained
    assert {model for script, model in stale if script == "evaluate.py"} == measured


INTERFACE, POSTERIOR = "models/interface.py", "models/posterior.py"
STAGES = ("train.py", "sample.py", "evaluate.py")


@pytest.mark.parametrize(
    ("module", "old", "new", "trained"),
    [
        (POSTERIOR, "return torch.lerp(self.mode(), other.mode(), weight)", "return self.mode()", False),
        (POSTERIOR, "noise, z = self._drawn(generator)", "noise, z = self._drawn(generator)[:2]", False),
        (POSTERIOR, "return kl_per_dimension(self.mean, self.log_variance)", "return None", False),
        (POSTERIOR, "generator.standard_normal(", "1 * generator.standard_normal(", False),
        (POSTERIOR, "from vaebench.models.kl import", "from vaebench.metrics.rate import", False),
        (POSTERIOR, "return self.mean\n", "return self.mean * 1\n", True),
        (POSTERIOR, "torch.isfinite(values).flatten(1)", "torch.isfinite(values.flatten(1))", True),
        (INTERFACE, 'raise NotImplementedError(f"{self.name} has no codes")', "return codes", False),
        (INTERFACE, "return tuple(self.encode(probe).mode().shape[1:])", "return ()", False),
        (INTERFACE, 'return {"model_state_dict": self.state_dict()}', "return {}", True),
        ("models/kl.py", "-0.5 * (1 ", "-0.5 * (1.0 ", False),
        ("models/inference.py", "batch_size: int = 256", "batch_size: int = 255", False),
        ("models/inference.py", "images.clamp(0, 1)", "images.clamp(0, 2)", True),
    ],
)
def test_an_edit_of_what_only_follows_a_training_leaves_trainings_alone(module, old, new, trained, library):
    path = library / "vaebench" / module
    text = path.read_text()
    assert old in text
    found = {script: set() for script in STAGES}
    for content in (text, text.replace(old, new)):
        path.write_text(content)
        for script in STAGES:
            found[script].add(fingerprint_of(script, compact_spec("SVAE"), library))
    path.write_text(text)
    stale = [script for script, fingerprints in found.items() if len(fingerprints) == 2]
    assert stale == (list(STAGES) if trained else ["sample.py", "evaluate.py"])


@pytest.mark.parametrize(
    ("old", "new", "trained"),
    [
        ("return functional.normalize(super().between(other, weight))", "return super().between(other, weight)", set()),
        ("drawn = generator.standard_normal(", "drawn = 1 * generator.standard_normal(", set()),
        (
            "    def priors(self)",
            "    def losses(self, x, moment):\n        return 0\n\n    def priors(self)",
            {"SVAE"},
        ),
    ],
)
def test_so_does_an_edit_in_a_family(old, new, trained, library):
    path = library / "vaebench/models/providers/pythae/svae.py"
    text = path.read_text()
    assert old in text
    found = {}
    for content in (text, text.replace(old, new)):
        path.write_text(content)
        for key in ((script, model) for script in STAGES for model in ("SVAE", "VAE")):
            found.setdefault(key, set()).add(fingerprint_of(key[0], compact_spec(key[1]), library))
    path.write_text(text)
    stale = {key for key, fingerprints in found.items() if len(fingerprints) == 2}
    assert {model for script, model in stale if script == "train.py"} == trained
    assert {model for script, model in stale if script == "evaluate.py"} == {"SVAE"}


def test_code_from_outside_may_train_by_any_function(library, tmp_path):
    """Networks of a user's own may call what no model of the package does while it is trained."""
    (tmp_path / "mine.py").write_text("class Encoder: ...\n")
    path = library / "vaebench" / POSTERIOR
    text, found = path.read_text(), set()
    for content in (text, text.replace("torch.lerp(self.mode(), other.mode(), weight)", "self.mode()")):
        path.write_text(content)
        files = Code(files=frozenset({tmp_path / "mine.py"}))
        code = code_of_training(compact_spec("VAE")).joined(files)
        found.add(code_fingerprint(library / "train.py", Sources(library / "vaebench", library / "kept"), also=code))
    path.write_text(text)
    assert len(found) == 2


def fingerprint_of(script, spec, library):
    """The fingerprint of a run's job, as the workflow takes it."""
    code = code_of_training(spec) if script == "train.py" else code_of_run(spec, measured=script == "evaluate.py")
    code = code.joined(code_of_sampler(spec)) if script == "sample.py" else code
    return code_fingerprint(library / script, Sources(library / "vaebench", library / "kept"), also=code)


def test_what_the_catalog_says_of_one_model_makes_only_that_model_stale(monkeypatch):
    """Its fields and objectives decide; which values are allowed, and the words for it, do not."""
    before = {model: code_of_run(compact_spec(model)) for model in MODELS}
    monkeypatch.setitem(MODELS, "SVAE", replace(MODELS["SVAE"], why="another reason", ranges={}))
    monkeypatch.setitem(MODELS, "CIWAE", replace(MODELS["CIWAE"], smallest_batch=3))
    assert {model for model in MODELS if code_of_run(compact_spec(model)) != before[model]} == {"CIWAE"}


@pytest.mark.parametrize(("sampler", "models"), [("pixelcnn", {"VQVAE"}), ("rhvae", {"RHVAE"})])
def test_another_default_of_a_sampler_reaches_the_runs_that_it_draws_for(sampler, models, monkeypatch):
    before = {model: code_of_sampler(compact_spec(model)) for model in MODELS}
    monkeypatch.setitem(SAMPLER_OPTIONS.options[sampler], "n_lf", whole(16, COUNT))
    assert {model for model in MODELS if code_of_sampler(compact_spec(model)) != before[model]} == models


@pytest.mark.parametrize("sampler", ["gaussian_mixture", "pixelcnn"])
def test_an_edit_of_a_sampler_reaches_the_runs_that_it_draws_for(sampler, library):
    path, sources = library / f"vaebench/sampling/{sampler}.py", Sources(library / "vaebench", library / "kept")
    text = path.read_text()
    found = {}
    for content in (text, text + "\n\ndef added_by_a_test():\n    return 1\n"):
        path.write_text(content)
        for model in ("AE", "VAE", "VQVAE"):
            also = code_of_sampler(compact_spec(model))
            found.setdefault(model, set()).add(code_fingerprint(library / "sample.py", sources, also=also))
    path.write_text(text)
    expected = {"gaussian_mixture": "AE", "pixelcnn": "VQVAE"}[sampler]
    assert [model for model, fingerprints in found.items() if len(fingerprints) == 2] == [expected]

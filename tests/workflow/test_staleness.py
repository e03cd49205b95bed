"""The staleness contract: what each kind of change runs again, and what it does not."""

import io
import os
import shutil
import time

import pytest
import torch

from vaebench.base.files import sha256_of

LIBRARY = "workflow/scripts/vaebench"
NEW_MEANING = "\n\ndef added_by_a_test():\n    return 1\n"
TABLES = {"runs_table": 1, "summary": 1, "figures": 1, "report": 1}
BUDGET = {"budget": 1}
SUMMARY = {"summary": 1, "figures": 1, "report": 1}
FURTHER = {"sample_further": 1, "evaluate_further": 1, "samplers_table": 1}
LOOK = {"figures": 1, "report": 1}
NUMBERS = {"runs_table": 1, "summary": 1}


SETTINGS = ("config/mnist.yaml", "study.yaml", "change.yaml")


def after_training(count):
    """Jobs of so many runs from samples to metrics, and the tables."""
    return {"sample": count, "showcase": count, "evaluate": count} | TABLES | BUDGET


def runs(count):
    """Jobs of so many runs from training to metrics, and the tables."""
    return {"train": count} | after_training(count)


def write_again(path, content, dates="new"):
    """Write other content into a file, under its old date or a new one."""
    before = path.stat()
    path.write_bytes(content)
    if dates == "old":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_nothing_is_stale_after_a_run(study):
    assert study.planned() == {}


@pytest.mark.parametrize(
    ("module", "jobs"),
    [
        ("metrics/reconstruction.py", {"evaluate": 2} | TABLES),
        ("evaluation/run.py", {"evaluate": 2} | TABLES),
        ("results/tables.py", TABLES),
        ("results/statistics.py", TABLES),
        ("results/budget.py", {"report": 1} | BUDGET),
        ("figures/comparison.py", LOOK),
        ("report/findings.py", {"report": 1}),
        ("report/templates/report.css", {"report": 1}),
        ("models/networks/compact.py", runs(2)),
        ("models/providers/pythae/model.py", runs(2)),
        ("models/providers/pythae/original_study.py", {"evaluate": 2} | TABLES),
        ("models/building.py", runs(2)),
        ("training/trainer.py", runs(2)),
        ("sampling/samplers.py", {"sample": 2, "evaluate": 2} | TABLES),
        ("sampling/normal.py", {"sample": 2, "evaluate": 2} | TABLES),
    ],
)
def test_edited_module(study, module, jobs):
    study.append(f"{LIBRARY}/{module}", NEW_MEANING if module.endswith(".py") else "\np { margin: 0 }\n")
    assert study.planned() == jobs


def test_what_a_posterior_does_after_training_trains_nothing(study):
    study.edit(f"{LIBRARY}/models/posterior.py", "torch.lerp(self.mode(), other.mode(), weight)", "self.mode()")
    assert study.planned() == {"sample": 2, "showcase": 2, "evaluate": 2} | TABLES


OTHER_FAMILIES = [
    *(f"models/providers/pythae/{name}.py" for name in ("codebooks", "flows", "vaegan", "vaegan_terms", "vqvae")),
    *(f"models/providers/quantizers/{name}.py" for name in ("fsq", "model", "quantizer")),
]


def test_edited_modules_that_decide_about_nothing_here(study):
    for module in (
        *OTHER_FAMILIES,  # of which this study has none
        "models/lookup.py",
        "sampling/pixelcnn.py",
        "training/tracking.py",
        "base/files.py",
    ):
        assert (study.root / LIBRARY / module).is_file()
        study.append(f"{LIBRARY}/{module}", NEW_MEANING)
    assert study.planned() == {}


def test_how_a_metric_is_shown_measures_nothing_again(study):
    """Its label, its unit, whether more is better, whether it is a headline metric."""
    for old, new in (
        ('"MSE",', '"mean squared error",'),
        ('"nats/value",', '"nats",'),
        ('unit="dB",\n            higher_is_better=True,', 'unit="dB",\n            higher_is_better=False,'),
        ("headline=True", "headline=False"),
    ):
        study.edit(f"{LIBRARY}/metrics/registry_images.py", old, new)
    assert study.planned() == TABLES


def test_where_a_metric_applies_measures_again(study):
    study.edit(f"{LIBRARY}/metrics/registry_images.py", 'function="psnr"', 'function="mse"')
    assert study.planned() == {"evaluate": 2} | TABLES


@pytest.mark.parametrize(
    ("setting", "jobs"),
    [
        ("statistics: {confidence: 0.9}", SUMMARY),
        ("samples: {count: 33}", {"sample": 2, "evaluate": 2} | TABLES),
        ("samples: {showcase: {images: 3}}", {"showcase": 2} | LOOK),
        ("evaluation: {lpips: [vgg]}", {"evaluate": 2} | TABLES),
        ("evaluation: {limit: 20}", {"evaluate": 2} | TABLES),
        ("models: {vae: {config: {latent_dim: 5}}}", runs(1)),
        ("models: {beta_vae: {training: {epochs: 2}}}", runs(1)),
        ("seeds: [0, 1]", runs(2)),
        ("models: {more: {model: AE, nets: {encoder: compact, decoder: compact}, config: {latent_dim: 4}}}", runs(1)),
        ("models: {beta_vae: {sweep: {beta: [2.0, 8.0]}}}", runs(1)),
        ("training: {optimizer: {name: AdamW}}", runs(2)),
        ("models: {vae: {training: {tuning_trials: 3}}}", {"report": 1} | BUDGET),
        ("models: {vae: {sampler: {name: gaussian_mixture}}}", {"sample": 1, "evaluate": 1} | TABLES),
        ("models: {vae: {samplers: [auto, {name: maf, options: {layers: 1}}]}}", FURTHER | LOOK),
    ],
)
def test_edited_setting(study, setting, jobs):
    (study.root / "change.yaml").write_text(setting)
    assert study.planned(configfiles=("config/mnist.yaml", "study.yaml", "change.yaml")) == jobs


NO_RESULT = """
samples: {batch_size: 7}
training: {vq_scale: mean, device: cpu, checkpoint_minutes: 1, record_steps: false, eval_batch_size: 7}
models: {vae: {config: {reconstruction_loss: bce, latent_dim: 4}}} # keys in another order
evaluation: {likelihood: {images: 1000, samples: 100}, batch_size: 7}
tracking: tensorboard
threads: {validate: 1, preprocess: 1, train: 2, sample: 2, evaluate: 2}
preprocessing: {batch_size: 7, device: cpu}
download: {retries: 1, timeout: 5, cookies: cookies.txt}
"""


def test_settings_that_change_no_result(study):
    (study.root / "change.yaml").write_text(NO_RESULT)
    assert study.planned(configfiles=SETTINGS) == {}


def test_code_written_in_other_words_runs_nothing_again(study):
    """A comment, a docstring, formatting, an annotation, a name, a message."""
    module = f"{LIBRARY}/training/trainer.py"
    study.append(module, "\n# A remark.\n")
    study.append("workflow/scripts/train.py", "\n# A remark.\n")
    study.edit(module, '"""', '"""Another first line. ')
    study.edit(module, "\n\n\nclass ", "\n\n\n\n\nclass ")
    study.edit(module, "def _is_over(self) -> bool:", "def _is_over(self):")
    for old in ("        epochs = self", "total=epochs"):
        study.edit(module, old, old.replace("epochs", "passes"))
    study.edit(module, "        passes = self", "        passes: int = self")
    study.edit(f"{LIBRARY}/training/divergence.py", "The last good state is kept.", "The last good state stays.")
    assert study.planned() == {}


@pytest.mark.parametrize("change", ["touch", "checkout", "move", "copy"])
def test_new_dates_and_places_run_nothing_again(study, tmp_path, change):
    if change == "touch":
        later = time.time() + 10
        for path in (study.root / "workflow").rglob("*.*"):
            os.utime(path, (later, later))
    elif change == "checkout":
        for path in (study.root / "workflow").rglob("*.*"):
            if path.is_file():
                content = path.read_bytes()
                path.unlink()
                path.write_bytes(content)
    else:
        study = study.copy(tmp_path / "moved" / "elsewhere", keep_dates=change == "move")
    assert study.planned() == {}
    assert study.planned() == {}, "the first look at a copy must not change what the second sees"


def test_new_settings_with_equal_pixels_train_nothing(study):
    (study.root / "change.yaml").write_text("validation: {max_bad_fraction: 0.5}\npreprocessing: {compress: true}")
    possible = study.planned(configfiles=SETTINGS)
    assert possible.items() >= runs(2).items(), "before the pixels are known, all that may follow is planned"
    assert study.ran(configfiles=SETTINGS) == {"validate": 1, "preprocess": 1, "report": 1}
    assert study.planned(configfiles=SETTINGS) == {}


def test_new_preprocessing_code_with_equal_pixels_trains_nothing(study):
    study.append(f"{LIBRARY}/data/resize/resampling.py", NEW_MEANING)
    assert study.planned("data") == {"preprocess": 1}
    study.append(f"{LIBRARY}/data/archive/images.py", NEW_MEANING)
    assert study.ran() == {"validate": 1, "preprocess": 1}
    assert study.planned() == {}


def test_other_pixels_are_made_and_may_train_again(study):
    (study.root / "change.yaml").write_text("preprocessing: {limit: 63}")
    assert study.planned("data", configfiles=SETTINGS) == {"preprocess": 1}
    assert study.planned(configfiles=SETTINGS) == {"preprocess": 1} | runs(2)


OWN_FILES = """
dataset:
  name: odd
  generator: null
  images: {source: [{path: data/mnist/raw/digits.zip}]}
  partition: {source: [{path: data/mnist/raw/digits_partition.txt}]}
  labels: {file: odd.csv, source: [{path: odd.csv}]}
models: {beta_vae: null}
evaluation: {lpips: [vgg]}
"""


@pytest.fixture(scope="module")
def finished_with_own_files(small_study, tmp_path_factory):
    """The digits of the small study as files of one's own, with labels; the tables of one model, LPIPS among them."""
    study = small_study.copy(tmp_path_factory.mktemp("own") / "project")
    partition = (study.root / "data/mnist/raw/digits_partition.txt").read_text()
    names = [line.split()[0] for line in partition.splitlines()]
    (study.root / "odd.csv").write_text("image_id,odd\n" + "".join(f"{n},{i % 2}\n" for i, n in enumerate(names)))
    (study.root / "change.yaml").write_text(OWN_FILES)
    weights = study.root / "data/weights/vgg16.pt"
    content = weights.read_bytes()
    weights.unlink()  # a link to where the tests keep it
    weights.write_bytes(content)
    study.snakemake("tables", configfiles=SETTINGS)
    return study


@pytest.fixture
def own_files(finished_with_own_files, tmp_path):
    """A copy of it."""
    return finished_with_own_files.copy(tmp_path / "project")


@pytest.mark.parametrize("dates", ["new", "old"])
def test_other_labels_are_measured_again_and_train_nothing(own_files, dates):
    labels = own_files.root / "data/odd/raw/odd.csv"
    content = labels.read_bytes()
    write_again(labels, content, dates)
    assert own_files.planned("tables", configfiles=SETTINGS) == {}
    write_again(labels, content.replace(b",0\n", b",1\n", 1), dates)
    assert own_files.planned("tables", configfiles=SETTINGS) == {"evaluate": 1} | NUMBERS


def test_another_lock_is_noted_and_not_run_again(study):
    for name in ("requirements.lock", "environment.yml"):
        (study.root / name).write_text("torch==2.99.0\n")
    assert study.planned() == {}


def test_an_archive_written_again_with_equal_bytes_makes_nothing_stale(study):
    for file in (study.root / "data/mnist/raw").iterdir():
        write_again(file, file.read_bytes())
    assert study.planned() == {}


def test_a_partition_replaced_by_hand_trains_again_in_the_same_command(study):
    """Two training images change places: other pixels for the training split only."""
    partition = study.root / "data/mnist/raw/digits_partition.txt"
    lines = partition.read_bytes().splitlines(keepends=True)
    other = b"".join([lines[1], lines[0], *lines[2:]])
    before = partition.stat()
    write_again(partition, other)
    assert study.planned("data") == {"validate": 1, "preprocess": 1}
    os.utime(partition, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert study.ran("models") == {"validate": 1, "preprocess": 1, "train": 2}
    assert study.planned() == after_training(2)


@pytest.mark.parametrize("dates", ["new", "old"])
def test_other_bytes_in_an_array_stop_the_plan(study, dates):
    arrays = study.root / "data/mnist/train_data.npz"
    content = bytearray(arrays.read_bytes())
    content[5000] ^= 1
    write_again(arrays, bytes(content), dates)
    result = study.snakemake(flags=["--dry-run"], check=False)
    assert result.returncode == 1
    assert "data/mnist/train_data.npz is not what preprocessing wrote" in result.stdout
    arrays.unlink()
    assert study.planned() == {}
    (study.root / "change.yaml").write_text("models: {beta_vae: {training: {epochs: 2}}}")
    assert study.planned(configfiles=SETTINGS) == {"preprocess": 1} | runs(2), "what may follow from the new array"


def doubled(path):
    """The content of a file of weights with every number doubled."""
    buffer = io.BytesIO()
    torch.save({name: 2 * value for name, value in torch.load(path, weights_only=True).items()}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("dates", ["new", "old"])
def test_other_bytes_in_weights_are_noticed(own_files, dates):
    weights = own_files.root / "data/weights/vgg16.pt"
    write_again(weights, weights.read_bytes(), dates)
    assert own_files.planned("tables", configfiles=SETTINGS) == {}
    write_again(weights, doubled(weights), dates)
    assert own_files.planned("tables", configfiles=SETTINGS) == {"evaluate": 1} | NUMBERS


def test_weights_from_elsewhere_are_noticed(own_files):
    """First another source, then another checksum, then other bytes at that source."""
    mine = own_files.root / "mine.pth"
    shutil.copy(own_files.root / "data/weights/vgg16.pt", mine)
    again = {"weights": 1, "evaluate": 1}
    settings = "weights: {vgg16: {source: [{path: mine.pth}], sha256: SHA}}"
    (own_files.root / "change.yaml").write_text(OWN_FILES + settings.replace("SHA", "null"))
    assert own_files.planned("tables", configfiles=SETTINGS) == again | NUMBERS
    assert own_files.ran("metrics", configfiles=SETTINGS) == again
    assert own_files.planned("tables", configfiles=SETTINGS) == {"summary": 1}, (
        "the numbers are equal, of the same weights"
    )
    (own_files.root / "change.yaml").write_text(OWN_FILES + settings.replace("SHA", sha256_of(mine)))
    assert own_files.planned("tables", configfiles=SETTINGS) == again | NUMBERS
    (own_files.root / "change.yaml").write_text(OWN_FILES + settings.replace("SHA", "null"))
    mine.write_bytes(doubled(mine))
    assert own_files.planned("tables", configfiles=SETTINGS) == again | NUMBERS
    (own_files.root / "change.yaml").write_text(OWN_FILES)
    assert own_files.planned("tables", configfiles=SETTINGS) == {"evaluate": 1} | NUMBERS, "back to the first weights"

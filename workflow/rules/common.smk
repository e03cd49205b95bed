# Helpers that the rules share: where things lie, which runs there are, and what makes a result stale.

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from snakemake.exceptions import WorkflowError

HERE = workflow.current_basedir
SCRIPTS = Path(HERE).parent / "scripts" if HERE.is_local else None
if (
    SCRIPTS
):  # this checkout's library, also where that of another is installed and was loaded by then
    sys.path.insert(0, str(SCRIPTS))
    others = {"vaebench", "snakemake_logger_plugin_vaebench"}
    for name in [name for name in sys.modules if name.split(".")[0] in others]:
        if not Path(sys.modules[name].__file__ or SCRIPTS).is_relative_to(SCRIPTS):
            del sys.modules[name]
try:
    import vaebench
except ImportError:
    raise WorkflowError(
        "a workflow that is read from elsewhere needs its library here: pip install the same version of vaebench"
    ) from None

from snakemake_logger_plugin_vaebench import show_progress
from vaebench.config import completion, sections
from vaebench.config.runs import drawn_runs, expand_runs, seeds_of
from vaebench.config.tuning_entries import tuned_runs
from vaebench.models.catalog import HOW_TO_TRAIN
from vaebench.models.lookup import MODELS, code_of_run, code_of_training, trained_on_by
from vaebench.base.digests import check_unchanged, digest_path, renew_digest
from vaebench.base.errors import UserError
from vaebench.base.fingerprint import Code, Sources, code_fingerprint
from vaebench.base.folders import folder_state
from vaebench.base.layout import SPLITS, runs_folder, training_folder, tuning_folder
from vaebench.base.log import tail
from vaebench.base.plugin_files import files_that_add
from vaebench.figures.listing import FIGURES, FORMATS
from vaebench.results.published_values import read_published
from vaebench.results.study_protocol import protocol_of
from vaebench.results.table_names import TABLES
from vaebench.metrics.registry import METRICS, REGISTRY, measured
from vaebench.models.feature_networks import wanted_features
from vaebench.models.own_networks import own_networks
from vaebench.base.presence import enter, sign
from vaebench.installation.prerequisites import broken_interpreter
from vaebench.base.signals import relay_warnings
from vaebench.base.values import as_dict
from vaebench.config.sampler_entries import common_labels
from vaebench.data.sources import kept_in, origin, weights_places
from vaebench.sampling.choice import code_of_sampler
from vaebench.training.state_folder import forget

fingerprint_of = functools.cache(code_fingerprint)
SOURCES = Sources(kept=Path(".snakemake/source_facts"))
state_of_folder = functools.cache(folder_state)
SCHEMA = completion.load_schema()

if broken := broken_interpreter(sys.executable):
    raise WorkflowError(broken)

if (
    workflow.remote_exec
):  # in a cluster's job: the scheduler warns Snakemake, not the training
    relay_warnings()

try:
    config.update(completion.complete(config, SCHEMA, workflow.is_main_process))
    for registry in (METRICS, TABLES, FIGURES):
        len(registry)  # names that plugins give twice are found here
    PUBLISHED = [
        value for source in config["published"] for value in read_published(source)
    ]
except UserError as mistakes:
    raise WorkflowError(str(mistakes)) from None

PLUGINS = SimpleNamespace(files=config["plugins"])  # for jobs; their code is compared
DATASET = config["dataset"]["name"]
DATA = f"{config['data_dir']}/{DATASET}"
RAW = f"{DATA}/raw"
DOWNLOADS = f"{config['data_dir']}/downloads"
KEPT_PACKAGES = f"{config['data_dir']}/packages"
KEPT_WEIGHTS = f"{config['data_dir']}/weights"
NOTES = Path(DOWNLOADS, "sources.json")
RESULTS = f"{config['results_dir']}/{DATASET}"
RUNS_FOLDER = runs_folder(Path(RESULTS))
RUN = str(training_folder(RUNS_FOLDER, "{run}", "{seed}"))
TUNING = str(tuning_folder(Path(RESULTS), "{run}"))
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
terminal = show_progress(workflow, Path(BENCHMARKS))

RAW_FILES = {file.file: file for file in sections.raw_files(config).values()}
MADE_PARTITION = f"{RAW}/split.txt"  # of images that come without one
MADE_LABELS = f"{RAW}/classes.csv"
ANNOTATIONS = [
    kind for kind in ("identity", "landmarks", "boxes") if config["dataset"][kind]
]
SPECS = expand_runs(config)
RUNS = list(SPECS)
DRAWN = drawn_runs(config, SPECS)
TUNED = tuned_runs(config, SPECS)
SEEDS = config["seeds"]
SUITES = sections.suites(config)
NETWORKS = sections.networks(config)
MEASURING = files_that_add("metric") | files_that_add(
    "feature_network", wanted_features(sections.evaluation_settings(config))
)
WEIGHTS = weights_places(
    NETWORKS, config["weights"], sections.shipped_weights(SCHEMA), NOTES
)
PACKAGES = ("gan_face_generate", "mlxtend")
STAGES = (
    "train",
    "pretrained",
    "sample",
    "showcase",
    "evaluate",
)  # of one training; the summary of an unfinished study lists them


def one_of(names):
    """A regular expression that matches each of the names and nothing else."""
    return "|".join(re.escape(str(name)) for name in names) or "(?!)"


def script_file(name):
    """A script of the workflow, or its copy on this machine where the workflow is read from an address."""
    return (
        SCRIPTS / name if SCRIPTS else Path(workflow.source_path(f"../scripts/{name}"))
    )


def code(script, without=frozenset(), plugins=frozenset(), shown=False):
    """Fingerprint of what a script does, as a parameter: a result is stale when it changes.

    As a function, it is worked out for the jobs that are looked at, and not at every start of Snakemake. Of a run, the
    modules of its own model and sampler count, and the plugins that add its networks, besides the files of `plugins`;
    modules named by `without` do not. `shown`: with how plugins present what they add.
    """

    def fingerprint(wildcards):
        also = Code(files=plugins)
        if "run" in wildcards.keys():
            also = also.joined(code_of_job(script, drawn_run(wildcards)))
        return fingerprint_of(
            script_file(script), SOURCES, without=without, also=also, shown=shown
        )

    return fingerprint


def code_of_job(script, spec):
    """What the job of a run executes because of its model, networks and sampler."""
    measured = script in ("evaluate.py", "evaluate_samples.py")

# What the rules share: where things lie, which runs there are, and what makes a result stale.

import functools
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

from snakemake.exceptions import WorkflowError

HERE = workflow.current_basedir
SCRIPTS = Path(HERE).parent / "scripts" if HERE.is_local else None
if SCRIPTS:
    # this checkout's library, here and in every job, also where another one is installed and was loaded by then
    sys.path.insert(0, str(SCRIPTS))
    named = [str(SCRIPTS), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ.update(PYTHONPATH=os.pathsep.join(dict.fromkeys(filter(None, named))))
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
from vaebench.config.yaml_files import read_as_yaml
from vaebench.models.catalog import HOW_TO_TRAIN
from vaebench.models.lookup import (
    MODELS,
    code_of_run,
    code_of_training,
    conditioning_labels,
    trained_on_by,
)
from vaebench.base.digests import digest_path
from vaebench.base.errors import UserError
from vaebench.base.fingerprint import Code, Sources, code_fingerprint
from vaebench.base.folders import folder_state
from vaebench.base.layout import (
    SPLITS,
    runs_folder,
    training_folder,
    tuning_folder,
)
from vaebench.base.plugin_files import files_that_add
from vaebench.figures.listing import FIGURES, FORMATS
from vaebench.results.published_values import read_published
from vaebench.results.study_protocol import protocol_of
from vaebench.results.table_names import TABLES
from vaebench.metrics.registry import METRICS, REGISTRY, measured
from vaebench.models.feature_networks import wanted_features
from vaebench.installation.prerequisites import broken_interpreter
from vaebench.base.signals import relay_warnings
from vaebench.base.values import as_dict
from vaebench.config.sampler_entries import common_labels
from vaebench.data.sources import kept_in, origin, weights_places
from vaebench.sampling.choice import code_of_sampler

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
    given = workflow.config_settings
    read_as_yaml(config, given.config, given.config_args or ())
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
# as Path writes them: Snakemake warns of each file of ./data/ that it is another one than that of data
DATA, DOWNLOADS, KEPT_PACKAGES, KEPT_WEIGHTS = (
    str(Path(config["data_dir"], name))
    for name in (DATASET, "downloads", "packages", "weights")
)
RAW = f"{DATA}/raw"
NOTES = Path(DOWNLOADS, "sources.json")
RESULTS = str(Path(config["results_dir"], DATASET))
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
LABELLED = ["labels"] if config["dataset"]["labels"] else []
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
    trains = script in ("train.py", "tune.py")
    own = code_of_training(spec) if trains else code_of_run(spec, measured)
    own = own.joined(Code(files=files_of_run(spec)))
    return own.joined(code_of_sampler(spec)) if script == "sample.py" else own


def drawn_run(wildcards):
    """The run of a job, as drawn by the sampler of its own that the job may have."""
    by_sampler = DRAWN[wildcards.run]
    label = wildcards.get("sampler")
    return SPECS[wildcards.run] if label is None else by_sampler[label]


def prior_to_fit(wildcards):
    """Whether the sampler of a run's job is fitted after training: such a run takes longest, and begins first."""
    return drawn_run(wildcards).sampler.name not in ("auto", "normal")


def further_samples(name):
    """The named file of each further sampler of every training, where generated images are measured."""
    wanted = [
        (run, label)
        for run, labels in DRAWN.items()
        for label in list(labels)[1:]
        if "generation" in SUITES
    ]
    return [
        file
        for run, label in wanted
        for file in run_files(f"samplers/{label}/{name}", runs=[run])
    ]


def files_of_run(spec):
    """The plugins that add what a run is built of."""
    names = [network.name for network in spec.networks.values()]
    return files_that_add("network", names)


def untracked(**settings):
    """Parameters that cannot change a result: Snakemake does not compare objects of this type between runs."""
    return SimpleNamespace(**settings)


def without(settings, *keys):
    """The settings less the keys that cannot change a result, in an order that does not depend on the YAML file's."""
    return {
        key: without(value) if isinstance(value, dict) else value
        for key, value in sorted(settings.items())
        if key not in keys
    }


def what_to_train(run):
    """The specification of a run less what cannot change its trained model."""
    spec = SPECS[run]
    meaningless = (
        HOW_TO_TRAIN if spec.pretrained else MODELS[spec.model].without_meaning()
    )
    plain = as_dict(spec)
    return plain | {"training": without(plain["training"], *meaningless)}


def how_to_train(run):
    """What concerns only the way to the trained model: where, how often it is saved, who watches."""
    return untracked(
        training={key: getattr(SPECS[run].training, key) for key in HOW_TO_TRAIN},
        tracking=config["tracking"],
    )


def how_to_tune(run):
    """What concerns only the way to the choice."""
    return untracked(**vars(how_to_train(run)), workers=config["tuning"]["workers"])


def workers_of(run):
    """What the workers of a run's tuning leave."""
    workers = range(1, config["tuning"]["workers"] + 1)
    folder = tuning_folder(Path(RESULTS), run)
    return [f"{folder}/worker{worker}.json" for worker in workers]


def choice_of(run):
    """The file of the options that a tuning chose for a run, if it is tuned."""
    return [f"{tuning_folder(Path(RESULTS), run)}/choice.json"] if run in TUNED else []


def tuning_records():
    """What is recorded of each tuning."""
    return [f"{tuning_folder(Path(RESULTS), run)}/tuning.json" for run in TUNED]


def weights_of(networks):
    """The files of the weights of fixed networks."""
    return [f"{KEPT_WEIGHTS}/{WEIGHTS[name]}.pt" for name in networks]


def weights_to_train(run):
    """The files of the fixed networks that the losses of a run need."""
    return weights_of(trained_on_by(SPECS[run]))


def device_of(run):
    """Where a run's model is trained, sampled and measured."""
    return SPECS[run].training.device


def raw(kind):
    """The file or folder of a kind that the data set has, such as `images`: used where it lies when it is a folder."""
    if kind == "partition" and config["dataset"]["split"]:
        return MADE_PARTITION
    described = config["dataset"][kind]
    if described == "folder":
        return MADE_LABELS
    places = [source["path"] for source in described["source"] if "path" in source]
    folders = [
        place for place in map(os.path.expanduser, places) if Path(place).is_dir()
    ]
    return without_braces(folders[0] if folders else f"{RAW}/{described['file']}")


def without_braces(path):
    """The path; an error when Snakemake would take a part of it for a wildcard."""
    if set(path) & set("{}"):
        raise WorkflowError(
            f"{path}: Snakemake takes what is in braces for a wildcard. Rename it, or give a link to it, "
            "made with ln -s, instead"
        )
    return path


def raw_if_given(kind):
    """The same as a list, empty when the data set has none of that kind."""
    return [raw(kind)] if config["dataset"][kind] else []


def persons():
    """The file of identities, when the split goes by it."""
    by = (config["dataset"]["split"] or {}).get("by")
    return [raw("identity")] if by == "identity" else []


def digests(*files):
    """What stands for large files among a rule's inputs: the digests beside them, which are compared by content."""
    return [digest_path(file) for file in files if not Path(file).is_dir()]


def folder_of_images(wildcards):
    """The state of a folder of images, which has no digest."""
    images = raw("images")
    return state_of_folder(images) if Path(images).is_dir() else None


def file_to_download(wildcards):
    """What decides about a downloaded file: what proves its content, or else where it comes from."""
    file = RAW_FILES[wildcards.file]
    return file.identity | {"origin": origin(file, NOTES)}


def array(split):
    """The images of a split as every model sees them; it is large, so `pixels` stand for it."""
    return ancient(f"{DATA}/{split}_data.npz")


def gigabytes(at_first, attempt):
    """The memory of a job: as much as `at_first` more at each attempt."""
    return f"{at_first * attempt}GB"


def manifest(split):
    """What is said of a split's array, with the names of its images; `ids` stand for it."""
    return ancient(f"{DATA}/{split}_data.json")


def pixels(*splits):
    """What the arrays of some splits hold. All rules behind `preprocess` ask for it (see there)."""
    return expand(f"{DATA}/{{split}}_data.pixels.sha256", split=splits)


def annotations():
    """What is known of the images of each split beside their pixels, where the data set has files of it."""
    return expand(f"{DATA}/{{split}}_{{kind}}.csv", split=SPLITS, kind=ANNOTATIONS)


def labels_given(run, *splits):
    """The labels of the images of some splits, where the run's model is conditional."""
    labels = expand(f"{DATA}/{{split}}_labels.csv", split=splits)
    return labels if conditioning_labels(SPECS[run]) else []


def labels_to_train(run):
    """The labels for a training, by the order of `SPLITS`; of the test images only which values there are."""
    return [
        *labels_given(run, "train", "eval"),
        *map(ancient, labels_given(run, "test")),
    ]


def ids(*splits):
    """Which images the rows of the arrays are."""
    return expand(f"{DATA}/{{split}}_data.ids.sha256", split=splits)


def run_files(*names, runs=RUNS):
    """The named files of every run, or of some, and seed."""
    return [
        f"{training_folder(RUNS_FOLDER, run, seed)}/{name}"
        for run in runs
        for seed in seeds_of(SPECS[run], SEEDS)
        for name in names
    ]


def trained_models():
    return run_files("final_model", "history.csv", "provenance.json")


def measured_runs():
    return run_files(*(f"metrics/{suite}.csv" for suite in SUITES))


def repository_on_the_hub(wildcards):
    """Where `push.hf_hub` puts a trained model."""
    return f"{config['push']['hf_hub']}/{DATASET}-{wildcards.run}-seed{wildcards.seed}"


def uploaded_models(wildcards):
    """What the target `push` makes, for the trainings of this study."""
    if config["push"]["hf_hub"] is None:
        raise WorkflowError(
            "push.hf_hub: name the account on the Hugging Face Hub that gets the models, "
            "for example --config 'push={hf_hub: my-account}'"
        )
    return run_files("uploaded.json", runs=TRAINED)


def tuning_trials():
    """How many settings were tried to choose those of each run, as its configuration declares."""
    return {run: spec.training.tuning_trials for run, spec in SPECS.items()}


def planned_study():
    """The data set's name, and each planned run with its seeds and specification in the order of the configuration."""
    seeds = {run: seeds_of(spec, SEEDS) for run, spec in SPECS.items()}
    return {
        "dataset": DATASET,
        "runs": {run: without(what_to_train(run)) for run in RUNS},
        "seeds": seeds,
        "samplers": {
            run: list(labels)[: None if "generation" in SUITES else 1]
            for run, labels in DRAWN.items()
        },
    }

"""Whether this machine and its cluster can do a study: `vaebench check config/config.yaml [more.yaml]` (make check)."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vaebench.base.disk import Disk
from vaebench.base.errors import UserError
from vaebench.cluster.machine import gather
from vaebench.cluster.preflight import Needs, Problem, check
from vaebench.config.yaml_files import read_configfile


def needs_of(config: Mapping[str, Any], disks: Iterable[Disk], folder: Path = Path()) -> Needs:
    """What the study needs of the machine it is started on."""
    from vaebench.config.completion import load_schema
    from vaebench.config.sections import networks, shipped_weights
    from vaebench.data.sources import weights_places

    data, defaults = folder / config["data_dir"], shipped_weights(load_schema())
    places = weights_places(networks(config), config["weights"], defaults, data / "downloads/sources.json")
    weights = [data / "weights" / f"{place}.pt" for place in places.values()]
    missing = tuple(str(path) for path in weights if not path.is_file())
    return Needs(config["training"]["device"], None, tuple(disks), missing)


def check_files(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Files of the data set that are not where the configuration says, and labels that their file does not have."""
    from vaebench.config.file_mistakes import label_mistakes, source_mistakes
    from vaebench.config.runs import expand_runs
    from vaebench.config.sections import raw_files

    data = Path(config["data_dir"])
    raw = data / config["dataset"]["name"] / "raw"
    made = ("images", "partition") if config["dataset"]["generator"] else ()
    files = {kind: file.file for kind, file in raw_files(config).items() if kind not in made}
    missing = [name for name in files.values() if not (raw / name).exists()]
    mistakes = list(source_mistakes(config, missing, data / "downloads"))
    try:
        mistakes += label_mistakes(config, expand_runs(config).values(), raw / files.get("labels", "classes.csv"))
    except UserError as unread:
        mistakes.append(str(unread))
    yield from (Problem(True, mistake) for mistake in mistakes)


def check_networks(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Plugins that cannot be imported, and the user's own networks and metrics that fail on these images."""
    from vaebench.base.plugin_files import not_importable, plugins_in_use
    from vaebench.config.runs import expand_runs
    from vaebench.config.sections import evaluation_settings, input_shape
    from vaebench.models.own_networks import mistakes_of, own_networks

    specs = [spec for spec in expand_runs(config).values() if own_networks(spec)]
    shape = input_shape(config)
    mistakes = not_importable() or mistakes_of(specs, shape)
    if plugins_in_use():
        from vaebench.metrics.trial import mistakes_in_measuring
        from vaebench.models.feature_networks import wanted_features

        mistakes = mistakes or mistakes_in_measuring(wanted_features(evaluation_settings(config)), shape)
    yield from (Problem(True, mistake) for mistake in mistakes)


def check_cluster(profile: Path, config: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with the profile, and what the SLURM of this machine, if it has one, would refuse of its jobs."""
    from vaebench.cluster.job_requests import mistakes_in_profile, requests_of_profile
    from vaebench.cluster.slurm import mistakes_in_requests
    from vaebench.cluster.slurm_answers import read_cluster

    files = (profile, profile / "profile.yaml", profile / "config.yaml")
    file = next((path for path in files if path.is_file()), None)
    try:
        described = read_configfile(file) if file else {}
    except UserError as unread:
        yield Problem(True, str(unread))
        return
    if mistakes := list(mistakes_in_profile(described)):
        yield from (Problem(True, f"{file}: {mistake}") for mistake in mistakes)
        return
    cluster = read_cluster() if described.get("executor") == "slurm" else None
    if isinstance(cluster, str):
        unseen = "partition, account, GPU and time limit were not looked at"
        yield Problem(False, f"SLURM does not answer ({cluster}): {unseen}")
    elif cluster:
        for mistake in mistakes_in_requests(requests_of_profile(described, config["threads"]), cluster):
            yield Problem(True, f"{file}: {mistake}")


def main(arguments: list[str] | None = None) -> int:
    """Print the plan and the findings of a study; 1 when one of them is an error."""
    from vaebench.config.plan import command_line, config_or_exit, describe, disks, make_plan

    parser = command_line("vaebench check", main.__doc__ or "")
    parser.add_argument(
        "--profile", type=Path, default=Path("profiles/slurm"), help="what is asked of SLURM, where there is one"
    )
    given = parser.parse_args(arguments)
    config = config_or_exit(given.config)
    plan = make_plan(config)
    written = disks(config, plan)
    for line in describe(plan, written):
        print(line)
    findings = [
        *check(gather(), needs_of(config, written)),
        *check_files(config),
        *check_networks(config),
        *check_cluster(given.profile, config),
    ]
    for finding in findings:
        print(finding)
    if not findings:
        print("nothing found that stands against it")
    return int(any(finding.fatal for finding in findings))

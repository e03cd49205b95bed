"""What the configuration says of the data set's files, held against those on this machine, before a job starts."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vaebench.config.schema import unknown
from vaebench.config.sections import raw_files
from vaebench.data.sources import DOWNLOADS, NOTES, kept_in, origin
from vaebench.models.label_names import CLASS, FIELD
from vaebench.models.lookup import conditioning_labels
from vaebench.models.run_spec import RunSpec


def source_mistakes(config: Mapping[str, Any], wanted: Iterable[str], downloads: Path = DOWNLOADS) -> Iterator[str]:
    """A line for each of the `wanted` files of the data set whose only sources are paths where nothing is.

    A file that `downloads` keeps from before, or that was placed there by hand, needs no source.
    """
    wanted = {*wanted}
    for kind, file in raw_files(config).items():
        kept = kept_in(file.md5, origin(file, downloads / NOTES.name), downloads) / file.file
        if file.file in wanted and not kept.exists() and (reason := file.why_not_here()):
            yield f"dataset.{kind}.source: {reason}"


def label_mistakes(config: Mapping[str, Any], specs: Iterable[RunSpec], made: Path) -> Iterator[str]:
    """A line for each label that models or metrics are to be given and that the file of labels does not have.

    `made` is where the file lies once it was fetched or made; where it is not there yet, nor its source here, nothing
    is said. Raises `UserError` for a file that is none of labels.
    """
    names = {f"models.{spec.entry}.config.{FIELD}": {*conditioning_labels(spec)} - {CLASS} for spec in specs}
    names["evaluation.factors"] = {*config["evaluation"]["factors"]}
    described = raw_files(config).get("labels")
    here = [path for path in (*(described.paths if described else ()), made) if path.is_file()]
    if not here or not any(names.values()):
        return
    from vaebench.data.labels import read_labels  # which loads pandas

    columns = list(map(str, read_labels(here[0])))
    for key, wanted in names.items():
        yield from (f"{key}: {unknown(name, columns, 'label')} ({here[0]})" for name in sorted(wanted - {*columns}))

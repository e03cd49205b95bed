from pathlib import Path

from vaebench.base.digests import write_digest
from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.sampling.sampling_settings import ShowcaseSettings
from vaebench.sampling.showcase import ShowcaseFiles, make_showcase

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    given = snakemake.input
    labels = Path(given.labels[0]) if given.get("labels") else None
    make_showcase(
        ShowcaseFiles(Path(given.model), Path(given.data), Path(snakemake.output[0]), labels),
        from_dict(
            ShowcaseSettings, snakemake.params.settings | {"device": "cpu"}
        ),  # a few images do not wait for a GPU
        snakemake.params.seed,
        snakemake.threads,
    )
    write_digest(snakemake.output[0])

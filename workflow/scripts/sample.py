from pathlib import Path

from vaebench.base.digests import write_digest
from vaebench.base.layout import SPLITS
from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.cluster.preflight import check_job
from vaebench.sampling.samplers import sample

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    how = vars(snakemake.params.how)
    check_job(how["device"])
    sample(
        Path(snakemake.input.model),
        dict(zip(SPLITS, map(Path, snakemake.input.data), strict=True)),
        Path(snakemake.output[0]),
        snakemake.params.sampler,
        snakemake.params.settings | how,
        int(snakemake.wildcards.seed),
        snakemake.threads,
    )
    write_digest(snakemake.output[0])

from pathlib import Path

from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.cluster.preflight import check_job
from vaebench.training.trainer import train

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    how = snakemake.params.how
    spec = snakemake.params.spec | {"training": snakemake.params.spec["training"] | how.training}
    check_job(how.training["device"], spec, Path(snakemake.input.train))
    train(
        spec,
        int(snakemake.wildcards.seed),
        Path(snakemake.input.train),
        Path(snakemake.input.eval),
        output=Path(snakemake.output.model),
        history=Path(snakemake.output.history),
        provenance=Path(snakemake.output.provenance),
        state=Path(snakemake.output.model).with_name("training_state"),
        code=snakemake.params.code,
        threads=snakemake.threads,
        tracking=how.tracking,
    )

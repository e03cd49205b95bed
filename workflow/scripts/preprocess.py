from pathlib import Path

from vaebench.log import job
from vaebench.preprocessing import preprocess

with job(snakemake.log[0]):
    outputs = {Path(path).name.removesuffix("_data.npz"): Path(path) for path in snakemake.output.arrays}
    preprocess(
        Path(snakemake.input.images),
        Path(snakemake.input.partition),
        Path(snakemake.input.table),
        outputs,
        snakemake.params.settings | vars(snakemake.params.how),
        snakemake.threads,
        snakemake.params.dataset,
    )

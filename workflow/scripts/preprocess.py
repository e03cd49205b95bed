from pathlib import Path

from vaebench.base.log import job
from vaebench.cluster.preflight import check_job
from vaebench.data.preprocessing import preprocess

if __name__ == "__main__":  # worker processes that are spawned import this script
    with job(snakemake.log[0]):
        check_job(snakemake.params.how.device)
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

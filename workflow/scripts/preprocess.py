from pathlib import Path

from vaebench.base.log import job
from vaebench.base.values import from_dict
from vaebench.cluster.preflight import check_job
from vaebench.data.image_table import ImageFiles
from vaebench.data.preprocessing import PreprocessingSettings, preprocess

if __name__ == "__main__":  # worker processes that are spawned import this script
    with job(snakemake.log[0]):
        check_job(snakemake.params.how.device)
        outputs = {Path(path).name.removesuffix("_data.npz"): Path(path) for path in snakemake.output.arrays}
        given = snakemake.input
        files = ImageFiles(Path(given.images), Path(given.partition), Path(given.table))
        settings = from_dict(PreprocessingSettings, snakemake.params.settings | vars(snakemake.params.how))
        preprocess(files, outputs, settings, snakemake.threads, snakemake.params.dataset)

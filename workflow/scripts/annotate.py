from pathlib import Path

from vaebench.base.log import job
from vaebench.data.annotations import write_annotations

with job(snakemake.log[0]):
    splits = [Path(path).name.removesuffix("_data.npz") for path in snakemake.input.arrays]
    write_annotations(
        Path(snakemake.input.annotations),
        snakemake.wildcards.kind,
        dict(zip(splits, map(Path, snakemake.input.arrays), strict=True)),
        dict(zip(splits, map(Path, snakemake.output), strict=True)),
    )

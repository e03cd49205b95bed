from pathlib import Path

from vaebench.base.digests import write_digests
from vaebench.base.layout import SPLITS
from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.cluster.preflight import check_job
from vaebench.evaluation.run import evaluate

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    check_job(snakemake.params.how.device)
    outputs = {Path(path).name: Path(path) for path in snakemake.output}
    evaluate(
        Path(snakemake.input.model),
        snakemake.params.spec,
        int(snakemake.wildcards.seed),
        snakemake.params.dataset,
        data=dict(zip(SPLITS, map(Path, snakemake.input.data), strict=True)),
        samples=Path(snakemake.input.samples),
        weights={Path(path).stem: Path(path) for path in snakemake.input.weights},
        settings=snakemake.params.settings | vars(snakemake.params.how),
        labels=Path(snakemake.input.labels[0]) if snakemake.input.get("labels") else None,
        outputs=outputs,
        threads=snakemake.threads,
    )
    arrays = [outputs[name] for name in ("per_image.parquet", "latent.npz", "extremes.npz")]
    write_digests(outputs["arrays.md5"], arrays)

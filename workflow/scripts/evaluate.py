from pathlib import Path

from vaebench.base.digests import write_digests
from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.cluster.preflight import check_job
from vaebench.evaluation.run import evaluate, job_of

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    check_job(snakemake.params.how.device)
    given, seed = dict(snakemake.input.items()), int(snakemake.wildcards.seed)
    measured = job_of(given, dict(snakemake.params.items()), seed)
    outputs = {Path(path).name: Path(path) for path in snakemake.output}
    evaluate(*measured, outputs, snakemake.threads)
    arrays = [outputs[name] for name in ("per_image.parquet", "latent.npz", "extremes.npz")]
    write_digests(outputs["arrays.md5"], arrays)

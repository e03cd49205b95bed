from pathlib import Path

from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.cluster.preflight import check_job
from vaebench.evaluation.run import evaluate_samples, job_of

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    check_job(snakemake.params.how.device)
    given, seed = dict(snakemake.input.items()), int(snakemake.wildcards.seed)
    measured = job_of(given, dict(snakemake.params.items()), seed)
    evaluate_samples(*measured, Path(snakemake.output[0]), snakemake.threads)

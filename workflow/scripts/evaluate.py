from pathlib import Path

from vaebench.base.digests import write_digests
from vaebench.base.evaluation_settings import EvaluationSettings
from vaebench.base.layout import SPLITS
from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.cluster.preflight import check_job
from vaebench.evaluation.run import EvaluationFiles, evaluate
from vaebench.results.suite_files import TrainingIdentity

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    check_job(snakemake.params.how.device)
    outputs = {Path(path).name: Path(path) for path in snakemake.output}
    spec, given = snakemake.params.spec, snakemake.input
    training = TrainingIdentity(snakemake.params.dataset, spec["run"], spec["model"], int(snakemake.wildcards.seed))
    files = EvaluationFiles(
        Path(given.model),
        data=dict(zip(SPLITS, map(Path, given.data), strict=True)),
        samples=Path(given.samples),
        weights={Path(path).stem: Path(path) for path in given.weights},
        labels=Path(given.labels[0]) if given.get("labels") else None,
    )
    settings = from_dict(EvaluationSettings, snakemake.params.settings | vars(snakemake.params.how))
    evaluate(training, files, settings, outputs, snakemake.threads)
    arrays = [outputs[name] for name in ("per_image.parquet", "latent.npz", "extremes.npz")]
    write_digests(outputs["arrays.md5"], arrays)

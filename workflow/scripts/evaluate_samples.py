from pathlib import Path

from vaebench.base.evaluation_settings import EvaluationSettings
from vaebench.base.layout import SPLITS
from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.cluster.preflight import check_job
from vaebench.evaluation.run import EvaluationFiles, evaluate_samples
from vaebench.results.suite_files import TrainingIdentity

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    check_job(snakemake.params.how.device)
    spec, given = snakemake.params.spec, snakemake.input
    training = TrainingIdentity(snakemake.params.dataset, spec["run"], spec["model"], int(snakemake.wildcards.seed))
    files = EvaluationFiles(
        Path(given.model),
        data=dict(zip(SPLITS, map(Path, given.data), strict=True)),
        samples=Path(given.samples),
        weights={Path(path).stem: Path(path) for path in given.weights},
        labels=None,
    )
    settings = from_dict(EvaluationSettings, snakemake.params.settings | vars(snakemake.params.how))
    evaluate_samples(training, files, settings, Path(snakemake.output[0]), snakemake.threads)

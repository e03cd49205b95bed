from pathlib import Path

from vaebench.base.layout import SPLITS
from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.cluster.preflight import check_job
from vaebench.config.search_space import TuningSettings
from vaebench.models.run_spec import RunSpec
from vaebench.tuning.trained_trials import TrialMaker, tune

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    how, given, planned = snakemake.params.how, snakemake.input, snakemake.params.spec
    spec = from_dict(RunSpec, planned | {"training": planned["training"] | how.training})
    output = Path(snakemake.output[0])
    maker = TrialMaker(
        spec,
        from_dict(TuningSettings, snakemake.params.tuning, "tuning"),
        Path(given.train),
        Path(given.eval),
        weights={Path(path).stem: Path(path) for path in given.weights},
        states=output.with_name("trials"),
        code=snakemake.params.code,
        threads=snakemake.threads,
        labels=dict(zip(SPLITS, map(Path, given.get("labels") or []), strict=False)),
    )
    check_job(spec.training.device, spec, maker.train)
    tune(maker, output.with_name("journal.log"), int(snakemake.wildcards.worker), how.workers, output)

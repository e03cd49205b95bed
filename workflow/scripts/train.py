from pathlib import Path

from vaebench.base.layout import SPLITS, state_folder
from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.cluster.preflight import check_job
from vaebench.config.search_space import with_choice
from vaebench.models.run_spec import RunSpec
from vaebench.training.one_training import train
from vaebench.training.record import TrainingFiles, TrainingJob

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    how, planned, code = snakemake.params.how, snakemake.params.spec, snakemake.params.code
    choice = Path(snakemake.input.choice[0]) if snakemake.input.get("choice") else None
    spec = with_choice(from_dict(RunSpec, planned | {"training": planned["training"] | how.training}), choice)
    files = TrainingFiles(
        Path(snakemake.input.train),
        Path(snakemake.input.eval),
        output=Path(snakemake.output.model),
        history=Path(snakemake.output.history),
        provenance=Path(snakemake.output.provenance),
        state=state_folder(Path(snakemake.output.model).parent),
        weights={Path(path).stem: Path(path) for path in snakemake.input.weights},
        choice=choice,
        labels=dict(zip(SPLITS, map(Path, snakemake.input.get("labels") or []), strict=False)),
    )
    check_job(spec.training.device, spec, files.train)
    train(TrainingJob(spec, int(snakemake.wildcards.seed), files, code), snakemake.threads, how.tracking)

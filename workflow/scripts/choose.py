import shutil
from pathlib import Path

from vaebench.base.log import job
from vaebench.base.values import from_dict
from vaebench.config.search_space import TuningSettings
from vaebench.tuning.chosen import TuningFiles, choose, key_of
from vaebench.tuning.trials import Trials

with job(snakemake.log[0]):
    files = TuningFiles(**{name: Path(path) for name, path in snakemake.output.items()})
    key = key_of([Path(path) for path in snakemake.input.workers])
    settings = from_dict(TuningSettings, snakemake.params.tuning, "tuning")
    choose(Trials(files.choice.with_name("journal.log"), key, settings), snakemake.wildcards.run, files)
    shutil.rmtree(files.choice.with_name("trials"), ignore_errors=True)

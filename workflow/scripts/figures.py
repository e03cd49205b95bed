from pathlib import Path

from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.figures.drawing import draw_all
from vaebench.results.study import StudyPlan, study_of

if __name__ == "__main__":  # worker processes that are spawned import this script
    with job(snakemake.log[0]):
        use_plugins(snakemake.params.plugins.files)
        results = Path(snakemake.output.png[0]).parents[1]
        study = study_of(from_dict(StudyPlan, snakemake.params.study), results)
        draw_all(study, results / "figures", snakemake.threads)

from pathlib import Path

from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.report.writing import ReportSources, write_report
from vaebench.results.study import StudyPlan, study_of

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    results = Path(snakemake.output[0]).parent
    sources = ReportSources(
        figures=results / "figures",
        manifests=[Path(path) for path in snakemake.input.manifests],
        validation=Path(snakemake.input.validation),
        **snakemake.params.settings,
    )
    study = study_of(from_dict(StudyPlan, snakemake.params.study), results)
    write_report(study, sources, Path(snakemake.output[0]))

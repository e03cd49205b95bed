from pathlib import Path

from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.results.protocol import PublishedValue, StudyProtocol
from vaebench.results.published import published
from vaebench.results.study import StudyPlan, study_of

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    published(
        study_of(from_dict(StudyPlan, snakemake.params.study), Path(snakemake.output.csv).parents[1]),
        [from_dict(PublishedValue, value) for value in snakemake.params.values],
        from_dict(StudyProtocol, snakemake.params.protocol),
        [Path(path) for path in snakemake.input.manifests],
    )

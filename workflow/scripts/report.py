from pathlib import Path

from vaebench.base.log import job
from vaebench.report.writing import write_report

with job(snakemake.log[0]):
    results = Path(snakemake.output[0]).parent
    write_report(
        **snakemake.params.study,
        tables=results / "tables",
        folder=results / "runs",
        figures=results / "figures",
        captions=snakemake.params.captions,
        manifests=[Path(path) for path in snakemake.input.manifests],
        validation=Path(snakemake.input.validation),
        rulegraph=snakemake.params.rulegraph.read_text(),
        settings=snakemake.params.settings,
        output=Path(snakemake.output[0]),
    )

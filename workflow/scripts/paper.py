from pathlib import Path

from vaebench.base.log import job
from vaebench.report.paper import write_paper

if __name__ == "__main__":  # worker processes that are spawned import this script
    with job(snakemake.log[0]):
        results = Path(snakemake.output[0]).parent
        write_paper(
            **snakemake.params.study,
            tables=results / "tables",
            folder=results / "runs",
            captions=snakemake.params.captions,
            output=Path(snakemake.output[0]),
            threads=snakemake.threads,
        )

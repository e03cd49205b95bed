from pathlib import Path

from vaebench.base.log import job
from vaebench.figures.drawing import draw_all

if __name__ == "__main__":  # worker processes that are spawned import this script
    with job(snakemake.log[0]):
        results = Path(snakemake.output.png[0]).parents[1]
        draw_all(
            **snakemake.params.study,
            tables=results / "tables",
            folder=results / "runs",
            output=results / "figures",
            threads=snakemake.threads,
        )

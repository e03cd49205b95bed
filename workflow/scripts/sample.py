from pathlib import Path

from vaebench.log import job
from vaebench.preflight import check_job
from vaebench.sampling import sample
from vaebench.showcase import make_showcase

with job(snakemake.log[0]):
    how = vars(snakemake.params.how)
    check_job(how["device"])
    model = Path(snakemake.input.model)
    train, evaluation, test = map(Path, snakemake.input.data)
    settings = snakemake.params.settings | how
    sample(
        model, train, evaluation, Path(snakemake.output.samples), snakemake.params.sampler, settings, snakemake.threads
    )
    shown = settings["showcase"] | how
    make_showcase(model, test, Path(snakemake.output.showcase), shown, settings["seed"], snakemake.threads)

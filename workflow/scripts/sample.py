from pathlib import Path

from vaebench.log import job
from vaebench.preflight import check_job
from vaebench.sampling import sample
from vaebench.showcase import make_showcase

with job(snakemake.log[0]):
    check_job(snakemake.config["training"]["device"])
    model = Path(snakemake.input.model)
    train, evaluation, test = map(Path, snakemake.input.data)
    settings = snakemake.params.settings
    sample(
        model, train, evaluation, Path(snakemake.output.samples), snakemake.params.sampler, settings, snakemake.threads
    )
    make_showcase(
        model, test, Path(snakemake.output.showcase), settings["showcase"], settings["seed"], snakemake.threads
    )

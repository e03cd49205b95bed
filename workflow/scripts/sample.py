from pathlib import Path

from vaebench.log import job
from vaebench.preflight import check_job
from vaebench.sampling import sample
from vaebench.showcase import make_showcase

with job(snakemake.log[0]):
    how = vars(snakemake.params.how)
    check_job(how["device"])
    model, seed = Path(snakemake.input.model), int(snakemake.wildcards.seed)
    data = dict(zip(("train", "eval", "test"), map(Path, snakemake.input.data), strict=True))
    settings = snakemake.params.settings | how
    output = Path(snakemake.output.samples)
    sample(model, data, output, snakemake.params.sampler, settings, seed, snakemake.threads)
    shown = settings["showcase"] | how
    make_showcase(model, data["test"], Path(snakemake.output.showcase), shown, settings["seed"], snakemake.threads)

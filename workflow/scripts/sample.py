from pathlib import Path

from vaebench.base.digests import write_digest
from vaebench.base.layout import SPLITS
from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.cluster.preflight import check_job
from vaebench.models.run_spec import Named
from vaebench.sampling.samplers import SamplingFiles, sample
from vaebench.sampling.sampling_settings import SamplingSettings

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    how = vars(snakemake.params.how)
    check_job(how["device"])
    data = dict(zip(SPLITS, map(Path, snakemake.input.data), strict=True))
    labels = dict(zip(SPLITS, map(Path, snakemake.input.get("labels") or []), strict=False))
    files = SamplingFiles(Path(snakemake.input.model), data, Path(snakemake.output[0]), labels)
    sampler = from_dict(Named, snakemake.params.sampler, "sampler")
    settings = from_dict(SamplingSettings, snakemake.params.settings | how, "samples")
    sample(files, sampler, settings, int(snakemake.wildcards.seed), snakemake.threads)
    write_digest(snakemake.output[0])

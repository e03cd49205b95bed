from pathlib import Path

from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.models.pretrained import import_pretrained
from vaebench.models.run_spec import ModelSpec

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    import_pretrained(
        from_dict(ModelSpec, snakemake.params.spec),
        Path(snakemake.input.eval),
        output=Path(snakemake.output.model),
        history=Path(snakemake.output.history),
        provenance=Path(snakemake.output.provenance),
    )

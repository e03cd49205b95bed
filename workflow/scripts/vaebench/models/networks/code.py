"""Which code the networks of a run are."""

from vaebench.base.fingerprint import Code
from vaebench.base.importable import source_file
from vaebench.models.run_spec import ModelSpec

FAMILIES = "vaebench.models.networks.compact"
SPECTRAL = "vaebench.models.networks.spectral"


def code_of_networks(spec: ModelSpec) -> Code:
    """The module of this package's families, and the files of networks that are named by a dotted path."""
    names = [name for name in spec.nets.values() if name]
    modules = {FAMILIES} | ({SPECTRAL} if "spectral" in names else set())
    files = [source_file(name.rpartition(".")[0]) for name in names if "." in name]
    return Code(frozenset(modules), frozenset(file for file in files if file is not None))

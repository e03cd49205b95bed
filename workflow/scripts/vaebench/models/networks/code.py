"""Which code the networks of a run are."""

from vaebench.base.fingerprint import Code
from vaebench.base.importable import source_file
from vaebench.models.run_spec import ModelSpec

FAMILIES = "vaebench.models.networks.families"
MODULES = {name: f"vaebench.models.networks.{name}" for name in ("compact", "lapped", "spectral", "dcgan", "strided")}
FOR_PRETRAINED = ("vaebench.models.networks.reproduction",)  # besides these


def code_of_networks(spec: ModelSpec) -> Code:
    """The modules of the families that a run names, and the files of networks that are named by a dotted path.

    The networks of a pretrained model are found among all families.
    """
    names = [name for name in spec.nets.values() if name]
    modules = {module for name, module in MODULES.items() if name in names}
    if spec.pretrained is not None:
        modules = {*MODULES.values(), *FOR_PRETRAINED}
    files = [source_file(name.rpartition(".")[0]) for name in names if "." in name]
    return Code(frozenset({FAMILIES, *modules}), frozenset(file for file in files if file is not None))

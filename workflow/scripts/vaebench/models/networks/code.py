"""Which code the networks of a run are."""

from importlib.metadata import PackageNotFoundError, version

from vaebench.base.fingerprint import Code
from vaebench.base.importable import source_file
from vaebench.models.run_spec import ModelSpec

FAMILIES = "vaebench.models.networks.families"
OWN = {name: f"vaebench.models.networks.{name}" for name in ("compact", "lapped", "spectral", "dcgan", "strided")}
OF_PACKAGES = {"diffusers": "vaebench.models.networks.diffusers"}  # whose networks are those of a package of this name
MODULES = OWN | OF_PACKAGES
FOR_PRETRAINED = ("vaebench.models.networks.reproduction",)  # besides our own


def code_of_networks(spec: ModelSpec) -> Code:
    """The modules of the families that a run names, and the files of networks that are named by a dotted path.

    The networks of a pretrained model are found among all families of our own. Those of a package are decided by its
    version.
    """
    names = {network.name for network in spec.networks.values()}
    modules = {module for name, module in MODULES.items() if name in names}
    if spec.pretrained is not None:
        modules |= {*OWN.values(), *FOR_PRETRAINED}
    files = [source_file(name.rpartition(".")[0]) for name in names if "." in name]
    packages = [f"{name} {_version(name)}" for name in sorted(names & OF_PACKAGES.keys())]
    found = frozenset(file for file in files if file is not None)
    return Code(frozenset({FAMILIES, *modules}), found, facts="\n".join(packages))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"

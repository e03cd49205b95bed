import json
import sys

from vaebench.base.plugin_files import not_importable, use_plugins
from vaebench.base.values import from_dict
from vaebench.metrics.trial import mistakes_in_measuring
from vaebench.models.own_networks import mistakes_of
from vaebench.models.run_spec import RunSpec

# Called by the Snakefile before the first job, in a process of its own: importing a network loads PyTorch.
arguments = json.load(sys.stdin)
use_plugins(arguments["plugins"])
shape = arguments["input_shape"]
mistakes = not_importable() or [
    *mistakes_of([from_dict(RunSpec, spec) for spec in arguments["specs"]], shape),
    *mistakes_in_measuring(arguments["features"], shape),
]
print("\n".join(mistakes))
sys.exit(bool(mistakes))

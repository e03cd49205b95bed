import json
import sys
from pathlib import Path

from vaebench.report.unfinished import summarise_finished

if __name__ == "__main__":  # worker processes that are spawned import this script
    # Called by the Snakefile when jobs failed, not by a rule: what a rule would get as parameters comes as JSON.
    arguments = json.load(sys.stdin)
    report = arguments["report"]
    report |= {"captions": Path(report["captions"]), "validation": Path(report["validation"])}
    summarise_finished(**arguments | {"results": Path(arguments["results"])})

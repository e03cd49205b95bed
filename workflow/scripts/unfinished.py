import json
import sys
from dataclasses import replace
from pathlib import Path

from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.report.unfinished import Unfinished, summarise_finished
from vaebench.report.writing import ReportSources
from vaebench.results.budget import tuning_costs
from vaebench.results.study import StudyPlan, study_of

if __name__ == "__main__":  # worker processes that are spawned import this script
    # Called by the Snakefile when jobs failed, not by a rule: what a rule would get as parameters comes as JSON.
    given = json.load(sys.stdin)
    use_plugins(given["plugins"])
    results, report = Path(given["results"]), given["report"]
    sources = ReportSources(figures=results / "figures", validation=Path(report.pop("validation")), **report)
    study = study_of(from_dict(StudyPlan, given["study"]), results)
    left = from_dict(Unfinished, {key: given[key] for key in ("to_do", "suites", "statistics")})
    tuned = tuning_costs(given["tuning_trials"], [Path(path) for path in given["tunings"]])
    summarise_finished(study, replace(left, tuned=tuned), sources)

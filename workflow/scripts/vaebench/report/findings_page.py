"""docs/findings.md from the tables of the studies of known findings (`make findings`).

`python -m vaebench.report.findings_page RESULTS ...` takes the folders of finished studies, known by their data sets'
names, and writes the tables of verdicts and statistics between the page's markers.
"""

import argparse
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path
from vaebench.report.generated_docs import with_part
from vaebench.results.claims import Evidence, Finding, of_seeds, read_study, verdict_of, weigh
from vaebench.results.known_findings import CLOTHES, FACES, FINDINGS

PAGE = Path("docs/findings.md")
CONFIDENCE = 0.95
TITLES = {CLOTHES: "Fashion-MNIST", FACES: "synthetic faces"}
NOT_RUN = "not run"
Found = list[tuple[Evidence | None, ...]]  # by finding, by claim


def evidence(findings: Sequence[Finding], studies: Mapping[str, pd.DataFrame], confidence: float) -> Found:
    """What the studies, by name, say of each claim of each finding; None where they do not have its values."""
    return [
        tuple(
            weigh(of_seeds(claim, studies[claim.study]), confidence) if claim.study in studies else None
            for claim in finding.claims
        )
        for finding in findings
    ]


def verdict_table(findings: Sequence[Finding], found: Found) -> str:
    """Markdown: a row for each finding: its verdict on the images of each study, and of all that were run."""
    columns = ("", "finding", "source", "verdict", *TITLES.values())
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for number, (finding, parts) in enumerate(zip(findings, found, strict=True), start=1):
        verdicts = [verdict(finding, parts, [study]) for study in TITLES]
        cells = (str(number), finding.sentence, finding.source, f"**{verdict(finding, parts)}**", *verdicts)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verdict(finding: Finding, parts: Sequence[Evidence | None], studies: Collection[str] = tuple(TITLES)) -> str:
    """The verdict of a finding by those of the studies that were run; "-" where it has no claim for any of them."""
    own: dict[str, list[Evidence | None]] = {}
    for claim, part in zip(finding.claims, parts, strict=True):
        if claim.study in studies:
            own.setdefault(claim.study, []).append(part)
    run = [part for of_study in own.values() if any(of_study) for part in of_study]
    return verdict_of(run) if run else NOT_RUN if own else "-"


def claim_table(findings: Sequence[Finding], found: Found) -> str:
    """Markdown: a row for each claim, with its mean over seeds and its interval."""
    lines = ["| | images | what is positive where the finding holds | mean | 95 % interval | seeds | verdict |"]
    lines.append("|---|---|---|---|---|---|---|")
    for number, (finding, parts) in enumerate(zip(findings, found, strict=True), start=1):
        for claim, part in zip(finding.claims, parts, strict=True):
            numbers = ("", "", "0", "not measured")
            if part is not None:
                interval = f"{part.ci_low:.3g} to {part.ci_high:.3g}"
                numbers = (f"{part.mean:.3g}", interval, str(part.seeds), part.verdict)
            lines.append(f"| {' | '.join((str(number), TITLES[claim.study], claim.words, *numbers))} |")
    return "\n".join(lines)


def given_table(folders: Mapping[str, Path]) -> str:
    """Markdown: what the runs of each study were given, from its budget.csv."""
    columns = ["run", "model", "n_seeds", "networks", "parameters", "batch_size", "epochs", "steps", "images_seen"]
    columns += ["learning_rate", "precision", "device", "hours"]
    lines = [
        f"| images | {' | '.join(column.replace('_', ' ') for column in columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for study, folder in folders.items():
        for row in pd.read_csv(folder / "tables/budget.csv", dtype=str, keep_default_na=False)[columns].to_numpy():
            *cells, hours = map(str, row)
            lines.append(f"| {' | '.join((TITLES[study], *cells, f'{float(hours):.3f}' if hours else ''))} |")
    return "\n".join(lines)


def write_page(page: Path, folders: Mapping[str, Path]) -> Found:
    """Write the tables into the page; the evidence they hold. UserError where a study's tables are missing."""
    found = evidence(FINDINGS, {study: read_study(folder) for study, folder in folders.items()}, CONFIDENCE)
    parts = {
        "verdicts": verdict_table(FINDINGS, found),
        "claims": claim_table(FINDINGS, found),
        "given": given_table(folders),
    }
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        text = with_part(text, name, part)
    with atomic_path(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m vaebench.report.findings_page", description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="folders of finished studies")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    folders = {folder.name: folder for folder in options.results}
    if unknown := sorted(folders.keys() - TITLES.keys()):
        sys.exit(f"error: {folders[unknown[0]]}: no study of known findings; they are {', '.join(TITLES)}")
    try:
        found = write_page(options.page, folders)
    except UserError as error:
        sys.exit(f"error: {error}")
    for finding, parts in zip(FINDINGS, found, strict=True):
        print(f"{verdict(finding, parts)}: {finding.sentence}")


if __name__ == "__main__":
    main()

# What people look at: figures drawn from the tables and stored images, and one HTML file that holds it all.

PRESENTED = frozenset().union(
    *map(files_that_add, ("metric", "figure", "table", "data_set"))
)


rule figures:
    input:
        tables=[rules.runs_table.output, rules.summary.output],
        trained=run_files("history.csv", "provenance.json"),
        shown=ancient(run_files(*SHOWN) + further_samples("samples.npz")),
        measured=ancient(run_files(*(f"metrics/{name}" for name in MEASURED))),
        digests=run_files(*map(digest_path, SHOWN), "metrics/arrays.md5")
        + further_samples(digest_path("samples.npz")),
        pixels=pixels(*SPLITS),
    output:
        png=[
            report(
                f"{RESULTS}/figures/{figure.name}.png",
                caption=f"../report/{'added' if figure.added else figure.name}.rst",
                category=figure.category,
                labels={"figure": figure.title},
            )
            for figure in FIGURES.values()
        ],
        svg=expand(f"{RESULTS}/figures/{{figure}}.svg", figure=FIGURES),
    log:
        f"{LOGS}/figures.log",
    benchmark:
        f"{BENCHMARKS}/figures.jsonl"
    localrule: True
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem="2GB",
        runtime="30m",
    params:
        code=code(
            "figures.py",
            plugins=files_that_add("figure") | files_that_add("metric"),
            shown=True,
        ),
        study=planned_study(),
        plugins=PLUGINS,
    message:
        "Drawing the figures"
    script:
        "../scripts/figures.py"


rule report:
    input:
        figures=rules.figures.output,
        tables=rules.figures.input.tables,
        budget=rules.budget.output,
        samplers=rules.samplers_table.output if FURTHER else [],
        published=rules.published.output if PUBLISHED else [],
        added=rules.added_tables.output if ADDED_TABLES else [],
        trained=rules.figures.input.trained,
        shown=rules.figures.input.shown,
        measured=rules.figures.input.measured,
        digests=rules.figures.input.digests,
        manifests=[manifest(split) for split in SPLITS],
        pixels=pixels(*SPLITS),
        ids=ids(*SPLITS),
        validation=rules.validate.output.summary,
    output:
        report(
            f"{RESULTS}/report.html",
            caption="../report/report.rst",
            category="Report",
            labels={"page": "the whole study"},
        ),
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.jsonl"
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem="2GB",
        runtime="30m",
    params:
        code=code("report.py", plugins=PRESENTED, shown=True),
        study=planned_study(),
        settings={
            "generator": config["dataset"]["generator"],
            "confidence": config["statistics"]["confidence"],
        },
        plugins=PLUGINS,
    message:
        "Writing the report {output}"
    script:
        "../scripts/report.py"


rule paper:
    input:
        tables=rules.figures.input.tables,
        budget=rules.budget.output,
        samplers=rules.samplers_table.output if FURTHER else [],
        published=rules.published.output if PUBLISHED else [],
        added=rules.added_tables.output if ADDED_TABLES else [],
        trained=rules.figures.input.trained,
        shown=rules.figures.input.shown,
        measured=rules.figures.input.measured,
        digests=rules.figures.input.digests,
        pixels=pixels(*SPLITS),
    output:
        directory(f"{RESULTS}/paper"),
    log:
        f"{LOGS}/paper.log",
    benchmark:
        f"{BENCHMARKS}/paper.jsonl"
    localrule: True
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem="2GB",
        runtime="30m",
    params:
        code=code("paper.py", plugins=PRESENTED, shown=True),
        study=planned_study(),
        plugins=PLUGINS,
    message:
        "Writing tables and figures for a manuscript to {output}"
    script:
        "../scripts/paper.py"

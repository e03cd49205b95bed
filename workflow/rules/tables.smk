# From the metrics of single trainings to the comparison.

OWN_TABLES = [info.name for info in TABLES.values() if not info.added]
ADDED_TABLES = [info.name for info in TABLES.values() if info.added]
FURTHER = further_samples("generation.csv")
SHOWN = ("samples.npz", "showcase.npz")
MEASURED = ("per_image.parquet", "latent.npz", "extremes.npz")


rule runs_table:
    input:
        suites=measured_runs(),
        pixels=pixels(*SPLITS),
    output:
        f"{RESULTS}/tables/runs.csv",
    log:
        f"{LOGS}/runs_table.log",
    benchmark:
        f"{BENCHMARKS}/runs_table.jsonl"
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem="1GB",
        runtime="10m",
    params:
        code=code("runs_table.py", plugins=files_that_add("metric"), shown=True),
        plugins=PLUGINS,
    message:
        "Collecting every metric of every run in {output}"
    script:
        "../scripts/runs_table.py"


rule summary:
    input:
        runs=rules.runs_table.output[0],
        per_image=ancient(run_files("metrics/per_image.parquet")),
        digests=run_files("metrics/arrays.md5"),
        pixels=pixels(*SPLITS),
    output:
        expand(
            f"{RESULTS}/tables/{{table}}.{{format}}",
            table=OWN_TABLES,
            format=("md", "tex"),
        ),
        f"{RESULTS}/tables/notes.json",
        csv=[
            report(
                f"{RESULTS}/tables/{table}.csv",
                caption="../report/table.rst",
                category="Tables",
                labels={"table": table},
            )
            for table in OWN_TABLES
        ],
    log:
        f"{LOGS}/summary.log",
    benchmark:
        f"{BENCHMARKS}/summary.jsonl"
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem="4GB",
        runtime="30m",
    params:
        code=code("summary.py", plugins=files_that_add("metric"), shown=True),
        settings=without(config["statistics"]),
        runs=RUNS,
        samplers={run: next(iter(labels)) for run, labels in DRAWN.items()},
        plugins=PLUGINS,
    message:
        "Writing the comparison tables"
    script:
        "../scripts/summary.py"


rule budget:
    input:
        trained=run_files("provenance.json"),
        tunings=tuning_records(),
        pixels=pixels(*SPLITS),
    output:
        expand(f"{RESULTS}/tables/budget.{{format}}", format=("md", "tex")),
        csv=report(
            f"{RESULTS}/tables/budget.csv",
            caption="../report/budget.rst",
            category="Tables",
            labels={"table": "budget"},
        ),
    log:
        f"{LOGS}/budget.log",
    benchmark:
        f"{BENCHMARKS}/budget.jsonl"
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem="1GB",
        runtime="10m",
    params:
        code=code("budget.py"),
        tuning_trials=tuning_trials(),
    message:
        "Writing what each run was given to {output.csv}"
    script:
        "../scripts/budget.py"


if FURTHER:

    rule samplers_table:
        input:
            runs=rules.runs_table.output[0],
            further=FURTHER,
        output:
            expand(f"{RESULTS}/tables/samplers.{{format}}", format=("md", "tex")),
            by_sampler=f"{RESULTS}/tables/by_sampler.csv",
            csv=report(
                f"{RESULTS}/tables/samplers.csv",
                caption="../report/samplers.rst",
                category="Tables",
                labels={"table": "samplers"},
            ),
        log:
            f"{LOGS}/samplers_table.log",
        benchmark:
            f"{BENCHMARKS}/samplers_table.jsonl"
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem="1GB",
            runtime="10m",
        params:
            code=code("samplers_table.py", plugins=files_that_add("metric"), shown=True),
            settings=without(config["statistics"]),
            samplers={run: list(labels) for run, labels in DRAWN.items()},
            common=sorted(common_labels(config["samples"]["common"])),
            plugins=PLUGINS,
        message:
            "Writing what each sampler draws to {output.csv}"
        script:
            "../scripts/samplers_table.py"


if PUBLISHED:

    rule published:
        input:
            tables=[rules.runs_table.output, rules.summary.output],
            samplers=rules.samplers_table.output if FURTHER else [],
            shown=ancient(run_files("samples.npz") + further_samples("samples.npz")),
            digests=run_files(digest_path("samples.npz"))
            + further_samples(digest_path("samples.npz")),
            manifests=[manifest(split) for split in SPLITS],
            pixels=pixels(*SPLITS),
            ids=ids(*SPLITS),
        output:
            expand(f"{RESULTS}/tables/published.{{format}}", format=("md", "tex")),
            csv=report(
                f"{RESULTS}/tables/published.csv",
                caption="../report/published.rst",
                category="Tables",
                labels={"table": "published"},
            ),
        log:
            f"{LOGS}/published.log",
        benchmark:
            f"{BENCHMARKS}/published.jsonl"
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem="1GB",
            runtime="10m",
        params:
            code=code("published.py", plugins=files_that_add("metric"), shown=True),
            study=planned_study(),
            values=[as_dict(value) for value in PUBLISHED],
            protocol=as_dict(protocol_of(config)),
            plugins=PLUGINS,
        message:
            "Holding the results against published ones in {output.csv}"
        script:
            "../scripts/published.py"


if ADDED_TABLES:

    rule added_tables:
        input:
            tables=[rules.runs_table.output, rules.summary.output],
            trained=run_files("history.csv", "provenance.json"),
            shown=ancient(run_files(*SHOWN)),
            measured=ancient(run_files(*(f"metrics/{name}" for name in MEASURED))),
            digests=run_files(*map(digest_path, SHOWN), "metrics/arrays.md5"),
            pixels=pixels(*SPLITS),
        output:
            expand(
                f"{RESULTS}/tables/{{table}}.{{format}}",
                table=ADDED_TABLES,
                format=("md", "tex"),
            ),
            csv=[
                report(
                    f"{RESULTS}/tables/{table}.csv",
                    caption="../report/added.rst",
                    category="Tables",
                    labels={"table": TABLES[table].title},
                )
                for table in ADDED_TABLES
            ],
        log:
            f"{LOGS}/added_tables.log",
        benchmark:
            f"{BENCHMARKS}/added_tables.jsonl"
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem="2GB",
            runtime="30m",
        params:
            code=code("added_tables.py", plugins=files_that_add("table"), shown=True),
            study=planned_study(),
            plugins=PLUGINS,
        message:
            "Writing the tables that plugins add"
        script:
            "../scripts/added_tables.py"

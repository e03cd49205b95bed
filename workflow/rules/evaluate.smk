# What each trained model draws, and what is measured on it. provenance.json stands for the model, which is a folder.


rule sample:
    input:
        model=ancient(f"{RUN}/final_model"),
        provenance=f"{RUN}/provenance.json",
        data=[array(split) for split in SPLITS],
        pixels=pixels(*SPLITS),
        labels=lambda wildcards: labels_given(wildcards.run, *SPLITS),
    output:
        f"{RUN}/samples.npz",
        digest_path(f"{RUN}/samples.npz"),
    log:
        f"{LOGS}/sample/{{run}}/seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/sample/{{run}}/seed{{seed}}.jsonl"
    priority: lambda wildcards: 2 * prior_to_fit(wildcards)
    conda:
        "../../environment.yml"
    threads: config["threads"]["sample"]
    resources:
        mem=lambda wildcards, attempt: gigabytes(8, attempt),
        runtime=lambda wildcards, attempt: 120 * attempt,
        gpu=1,
    params:
        code=code("sample.py"),
        sampler=lambda wildcards: as_dict(drawn_run(wildcards).sampler),
        settings=without(config["samples"], "batch_size", "common", "showcase"),
        how=lambda wildcards: untracked(
            device=device_of(wildcards.run), batch_size=config["samples"]["batch_size"]
        ),
        plugins=PLUGINS,
    message:
        "Drawing images from {wildcards.run}, seed {wildcards.seed}"
    script:
        "../scripts/sample.py"


use rule sample as sample_further with:
    output:
        f"{RUN}/samplers/{{sampler}}/samples.npz",
        digest_path(f"{RUN}/samplers/{{sampler}}/samples.npz"),
    log:
        f"{LOGS}/sample_further/{{run}}/seed{{seed}}-{{sampler}}.log",
    benchmark:
        f"{BENCHMARKS}/sample_further/{{run}}/seed{{seed}}-{{sampler}}.jsonl"
    message:
        "Drawing images from {wildcards.run}, seed {wildcards.seed}, by {wildcards.sampler}"


rule showcase:
    input:
        model=ancient(f"{RUN}/final_model"),
        provenance=f"{RUN}/provenance.json",
        data=array("test"),
        pixels=pixels("test"),
        labels=lambda wildcards: labels_given(wildcards.run, "test"),
    output:
        f"{RUN}/showcase.npz",
        digest_path(f"{RUN}/showcase.npz"),
    log:
        f"{LOGS}/showcase/{{run}}/seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/showcase/{{run}}/seed{{seed}}.jsonl"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem=lambda wildcards, attempt: gigabytes(4, attempt),
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        code=code("showcase.py"),
        settings=without(config["samples"]["showcase"]),
        seed=config["samples"]["seed"],
        plugins=PLUGINS,
    message:
        "Choosing what figures show of {wildcards.run}, seed {wildcards.seed}"
    script:
        "../scripts/showcase.py"


rule evaluate:
    input:
        model=ancient(f"{RUN}/final_model"),
        provenance=f"{RUN}/provenance.json",
        data=[array(split) for split in SPLITS],
        manifests=[manifest(split) for split in SPLITS],
        pixels=pixels(*SPLITS),
        ids=ids(*SPLITS),
        samples=ancient(f"{RUN}/samples.npz"),
        samples_digest=digest_path(f"{RUN}/samples.npz"),
        conditions=lambda wildcards: labels_given(wildcards.run, *SPLITS),
        weights=ancient(weights_of(sections.measuring_networks(config))),
        weights_digests=digests(*weights_of(sections.measuring_networks(config))),
        labels=ancient(raw_if_given("labels")),
        labels_digest=digests(*raw_if_given("labels")),
    output:
        suites=expand(f"{RUN}/metrics/{{suite}}.csv", suite=SUITES, allow_missing=True),
        per_image=f"{RUN}/metrics/per_image.parquet",
        latent=f"{RUN}/metrics/latent.npz",
        extremes=f"{RUN}/metrics/extremes.npz",
        digest=f"{RUN}/metrics/arrays.md5",
    log:
        f"{LOGS}/evaluate/{{run}}/seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{{run}}/seed{{seed}}.jsonl"
    conda:
        "../../environment.yml"
    threads: config["threads"]["evaluate"]
    resources:
        mem=lambda wildcards, attempt: gigabytes(8, attempt),
        runtime=lambda wildcards, attempt: 120 * attempt,
        gpu=1,
    params:
        code=code("evaluate.py", without=REGISTRY, plugins=MEASURING),
        metrics=measured(wanted_features(sections.evaluation_settings(config))),
        spec=lambda wildcards: without(
            as_dict(SPECS[wildcards.run]), "training", "sampler"
        ),
        settings=without(config["evaluation"], "batch_size"),
        how=lambda wildcards: untracked(
            batch_size=config["evaluation"]["batch_size"],
            device=device_of(wildcards.run),
        ),
        dataset=DATASET,
        plugins=PLUGINS,
    message:
        "Measuring {wildcards.run}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate.py"


rule evaluate_further:
    input:
        model=ancient(f"{RUN}/final_model"),
        provenance=f"{RUN}/provenance.json",
        data=[array(split) for split in SPLITS],
        manifests=[manifest(split) for split in SPLITS],
        pixels=pixels(*SPLITS),
        ids=ids(*SPLITS),
        samples=ancient(f"{RUN}/samplers/{{sampler}}/samples.npz"),
        samples_digest=digest_path(f"{RUN}/samplers/{{sampler}}/samples.npz"),
        conditions=lambda wildcards: labels_given(wildcards.run, *SPLITS),
        weights=ancient(expand(f"{KEPT_WEIGHTS}/{{place}}.pt", place=WEIGHTS.values())),
        weights_digests=digests(
            *expand(f"{KEPT_WEIGHTS}/{{place}}.pt", place=WEIGHTS.values())
        ),
    output:
        f"{RUN}/samplers/{{sampler}}/generation.csv",
    log:
        f"{LOGS}/evaluate_further/{{run}}/seed{{seed}}-{{sampler}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_further/{{run}}/seed{{seed}}-{{sampler}}.jsonl"
    conda:
        "../../environment.yml"
    threads: config["threads"]["evaluate"]
    resources:
        mem=lambda wildcards, attempt: gigabytes(8, attempt),
        runtime=lambda wildcards, attempt: 120 * attempt,
        gpu=1,
    params:
        code=code("evaluate_samples.py", without=REGISTRY, plugins=MEASURING),
        metrics=rules.evaluate.params.metrics,
        spec=rules.evaluate.params.spec,
        settings=rules.evaluate.params.settings,
        how=rules.evaluate.params.how,
        dataset=DATASET,
        plugins=PLUGINS,
    message:
        "Measuring what {wildcards.sampler} draws from {wildcards.run}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate_samples.py"

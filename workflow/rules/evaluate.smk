# What each trained model draws, and what is measured on it.


rule sample:
    input:
        model=f"{RUN}/final_model",
        data=ancient(expand(f"{DATA}/{{split}}_data.npz", split=SPLITS)),
        manifests=expand(f"{DATA}/{{split}}_data.json", split=SPLITS),
    output:
        samples=f"{RUN}/samples.npz",
        showcase=f"{RUN}/showcase.npz",
    log:
        f"{LOGS}/sample/{{run}}/seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/sample/{{run}}/seed{{seed}}.jsonl"
    conda:
        "../../environment.yml"
    threads: config["threads"]["sample"]
    resources:
        mem=lambda wildcards, attempt: f"{8 * attempt}GB",
        runtime=lambda wildcards, attempt: 120 * attempt,
        gpu=1,
    params:
        code=code("sample.py"),
        sampler=lambda wildcards: SPECS[wildcards.run]["sampler"],
        settings=without(config["samples"]),
        how=lambda wildcards: untracked(device=device_of(wildcards.run)),
    message:
        "Drawing images from {wildcards.run}, seed {wildcards.seed}"
    script:
        "../scripts/sample.py"


rule evaluate:
    input:
        model=f"{RUN}/final_model",
        data=ancient(expand(f"{DATA}/{{split}}_data.npz", split=SPLITS)),
        manifests=expand(f"{DATA}/{{split}}_data.json", split=SPLITS),
        samples=f"{RUN}/samples.npz",
        weights=ancient(expand("data/weights/{network}.pt", network=NETWORKS)),
        labels=labels(),
    output:
        suites=expand(f"{RUN}/metrics/{{suite}}.csv", suite=SUITES, allow_missing=True),
        per_image=f"{RUN}/metrics/per_image.parquet",
        latent=f"{RUN}/metrics/latent.npz",
        extremes=f"{RUN}/metrics/extremes.npz",
    log:
        f"{LOGS}/evaluate/{{run}}/seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{{run}}/seed{{seed}}.jsonl"
    conda:
        "../../environment.yml"
    threads: config["threads"]["evaluate"]
    resources:
        mem=lambda wildcards, attempt: f"{8 * attempt}GB",
        runtime=lambda wildcards, attempt: 120 * attempt,
        gpu=1,
    params:
        code=code("evaluate.py"),
        spec=lambda wildcards: without(SPECS[wildcards.run], "training", "sampler"),
        settings=without(config["evaluation"], "batch_size"),
        how=lambda wildcards: untracked(
            batch_size=config["evaluation"]["batch_size"],
            device=device_of(wildcards.run),
        ),
        dataset=DATASET,
    message:
        "Measuring {wildcards.run}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate.py"

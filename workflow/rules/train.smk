# One training per run and seed; a pretrained model takes the same place.

TRAINED = [run for run, spec in SPECS.items() if spec.pretrained is None]
PRETRAINED = [run for run, spec in SPECS.items() if spec.pretrained is not None]


rule train:
    input:
        train=array("train"),
        eval=array("eval"),
        pixels=pixels("train", "eval"),
        weights=lambda wildcards: ancient(weights_to_train(wildcards.run)),
        weights_digests=lambda wildcards: digests(*weights_to_train(wildcards.run)),
        choice=lambda wildcards: choice_of(wildcards.run),
        labels=lambda wildcards: labels_to_train(wildcards.run),
    output:
        model=directory(f"{RUN}/final_model"),
        history=f"{RUN}/history.csv",
        provenance=f"{RUN}/provenance.json",
    log:
        f"{LOGS}/train/{{run}}/seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/train/{{run}}/seed{{seed}}.jsonl"
    wildcard_constraints:
        run=one_of(TRAINED),
    # before what follows from trainings, so that no long one is left for the end
    priority: lambda wildcards: 1 + prior_to_fit(wildcards)
    conda:
        "../../environment.yml"
    threads: config["threads"]["train"]
    resources:
        mem=lambda wildcards, attempt: gigabytes(8, attempt),
        runtime=lambda wildcards, attempt: 720 * attempt,
        gpu=1,
    params:
        code=code("train.py"),
        spec=lambda wildcards: without(what_to_train(wildcards.run), "sampler"),
        how=lambda wildcards: how_to_train(wildcards.run),
        plugins=PLUGINS,
    message:
        "Training {wildcards.run}, seed {wildcards.seed}; progress in {log}"
    script:
        "../scripts/train.py"


rule pretrained:
    input:
        eval=array("eval"),
        pixels=pixels("eval"),
    output:
        model=directory(f"{RUN}/final_model"),
        history=f"{RUN}/history.csv",
        provenance=f"{RUN}/provenance.json",
    log:
        f"{LOGS}/pretrained/{{run}}/seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/pretrained/{{run}}/seed{{seed}}.jsonl"
    wildcard_constraints:
        run=one_of(PRETRAINED),
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem="8GB",
        runtime="2h",
    params:
        code=code("pretrained.py"),
        spec=lambda wildcards: without(
            as_dict(SPECS[wildcards.run]), "training", "sampler"
        ),
        plugins=PLUGINS,
    message:
        "Importing the pretrained {wildcards.run}"
    script:
        "../scripts/pretrained.py"


rule upload:
    input:
        model=ancient(f"{RUN}/final_model"),
        provenance=f"{RUN}/provenance.json",
        pixels=pixels("train", "eval"),
    output:
        f"{RUN}/uploaded.json",
    log:
        f"{LOGS}/upload/{{run}}/seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/upload/{{run}}/seed{{seed}}.jsonl"
    wildcard_constraints:
        run=one_of(TRAINED),
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem="2GB",
        runtime="1h",
    params:
        dataset=DATASET,
        private=config["push"]["private"],
        repository=repository_on_the_hub,
    message:
        "Uploading {wildcards.run}, seed {wildcards.seed}, to the Hugging Face Hub"
    script:
        "../scripts/upload.py"

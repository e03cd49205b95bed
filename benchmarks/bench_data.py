"""Time and memory of the data road against the plain way and against raw decoding, on generated CelebA-like images.

`python benchmarks/bench_data.py --images 20000` prints one table and writes one CSV. Every stage runs in a process of
its own, whose memory (all its processes together) is read from outside. The images are synthetic faces of the demo's
generator as 178x218 JPEGs; a pool of `--distinct` files is repeated under new names.

CPU seconds are printed beside wall seconds, since these say little on a machine that others use at the same time.

- ours: `validate` (full decode, CRC), `preprocess` (decode, crop, resize, rows written to their place, sealed, hashed).
  The archive's md5 is noted beforehand, as the download, which checks it, does; the resize is compiled beforehand,
  which takes a few seconds once on a machine.
- plain: what the scripts of the field do: `Image.verify()` on every extracted file, torchvision's ImageFolder and
  DataLoader with the same workers, a list of batches, concatenate, `savez_compressed`.
- limit: simplejpeg.decode_jpeg (libjpeg-turbo) on every file of the zip, in the same pool of workers, nothing else.
"""

import argparse
import csv
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from statistics import median

import psutil

SIZE, CROP, SPLITS = 64, 148, ("train", "eval", "test")
SHARES = (0.80, 0.10, 0.10)
EXTRACTED, ARCHIVE, PARTITION, TABLE = "extracted", "images.zip", "partition.txt", "images.csv"
QUALITY = 92  # gives about CelebA's mean of 7.1 KB
COLUMNS = (
    "images",
    "distinct",
    "workers",
    "filter",
    "way",
    "stage",
    "round",
    "seconds",
    "cpu_seconds",
    "images_per_second",
    "peak_rss_mb",
)
DECODING = {
    "exif_orientation": True,
    "background": [255, 255, 255],
    "max_pixels": 50_331_648,
    "max_bytes": 250_000_000,
}
TARGETS = {"lanczos": (4.0, 0.30), "bilinear": (5.0, 0.45)}  # end to end against plain; preprocess against limit


def main() -> None:
    """Make the images, run the stages in turn, print the table, write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, help="2,000 to 200,000")
    parser.add_argument("--distinct", type=int, default=4_000, help="files drawn; repeated under new names")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="all stages are run so often, in turn")
    parser.add_argument("--filters", nargs="+", default=["lanczos", "bilinear"])
    parser.add_argument("--skip-plain", action="store_true", help="only ours and the limit")
    parser.add_argument("--package", type=Path, default=Path("data/packages/gan_face_generate.archive"))
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: a temporary folder)")
    parser.add_argument(
        "--output", type=Path, default=None, help="the CSV (default: benchmarks/results/data-IMAGES.csv)"
    )
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        run_stage(json.loads(options.stage))
        return
    output = options.output or Path(__file__).parent / "results" / f"data-{options.images}.csv"
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-data-") as folder:
        mean_bytes = make_images(Path(folder), options)
        rows = measure(Path(folder), options)
    report(rows, options, mean_bytes)
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(output, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"written to {output}")


def make_images(folder: Path, options: argparse.Namespace) -> float:
    """The archive, the partition, and the files that the plain way needs; returns the mean bytes of a JPEG."""
    from vaebench.base.digests import write_digest

    call = [sys.executable, __file__, "--stage"]
    task = {"stage": "draw", "package": str(options.package), "count": min(options.distinct, options.images)}
    subprocess.run([*call, json.dumps(task | {"folder": str(folder)})], check=True)  # keeps PyTorch out of this process
    pool = [path.read_bytes() for path in sorted((folder / "pool").iterdir())]
    shutil.rmtree(folder / "pool")
    lines = []
    bounds = [round(options.images * sum(SHARES[: split + 1])) for split in range(3)]
    with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_STORED) as archive:
        for row in range(options.images):
            name, data = f"{row + 1:06d}.jpg", pool[row % len(pool)]
            archive.writestr(f"img_align_celeba/{name}", data)
            split = next(split for split, bound in enumerate(bounds) if row < bound)
            lines.append(f"{name} {split}\r\n")
            if not options.skip_plain:
                path = folder / EXTRACTED / SPLITS[split] / "all" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    (folder / PARTITION).write_bytes("".join(lines).encode())
    for name in (ARCHIVE, PARTITION):
        write_digest(folder / name)  # as the download, which checks it, leaves it
    return sum(map(len, pool)) / len(pool)


def measure(folder: Path, options: argparse.Namespace) -> list[dict]:
    """One row per stage and round; the stages take turns, so that a busy machine hits all of them alike."""
    common = {"images": options.images, "distinct": min(options.distinct, options.images), "workers": options.workers}
    rows = []
    for turn in range(options.rounds):
        stages = [("limit", "decode", None), ("ours", "validate", None)]
        stages += [("ours", "preprocess", name) for name in options.filters]
        if not options.skip_plain:
            stages += [("plain", "verify", None)] + [("plain", "preprocess", name) for name in options.filters]
        for way, stage, name in stages:
            task = {"stage": f"{way}_{stage}", "filter": name, "folder": str(folder), "workers": options.workers}
            os.sync()  # no stage pays for what the one before has left to be written to the disk
            seconds, cpu, peak = watched([sys.executable, __file__, "--stage", json.dumps(task)])
            rows.append(
                common
                | {
                    "filter": name or "",
                    "way": way,
                    "stage": stage,
                    "round": turn,
                    "seconds": round(seconds, 2),
                    "cpu_seconds": round(cpu, 2),
                }
                | {"images_per_second": round(options.images / seconds, 1), "peak_rss_mb": round(peak / 2**20, 1)}
            )
            print(json.dumps(rows[-1]), file=sys.stderr)
        if not options.skip_plain:
            for name in options.filters:
                check_equal(folder, name)
    return rows


def watched(command: list[str]) -> tuple[float, float, int]:
    """Seconds of wall time and of CPU time, and the largest resident memory in bytes, of a command and its children."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    start, before, peak = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN), 0
    process = psutil.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        resident = 0
        try:
            for member in [process, *process.children(recursive=True)]:
                resident += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        peak = max(peak, resident)
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.perf_counter() - start, cpu, peak


def report(rows: list[dict], options: argparse.Namespace, mean_bytes: float) -> None:
    """The table, and how the targets are met."""
    load = os.getloadavg()[0]
    print(
        f"{options.images} images of {mean_bytes / 1000:.1f} KB on average, {options.workers} workers, "
        f"{platform.processor() or platform.machine()} with {os.cpu_count()} cores, load {load:.1f}"
    )
    print(f"{'way':6} {'stage':11} {'filter':9} {'seconds':>8} {'CPU s':>8} {'images/s':>9} {'peak MB':>8}")
    for row in rows:
        print(
            f"{row['way']:6} {row['stage']:11} {row['filter']:9} {row['seconds']:8.1f} {row['cpu_seconds']:8.1f} "
            f"{row['images_per_second']:9.0f} {row['peak_rss_mb']:8.0f}"
        )

    def seconds(clock: str, way: str, stage: str, name: str, turn: int) -> float:
        wanted = way, stage, name, turn
        return next(row[clock] for row in rows if (row["way"], row["stage"], row["filter"], row["round"]) == wanted)

    turns = range(options.rounds)
    for name in options.filters:
        faster, share = TARGETS.get(name, (0, 0))
        for clock, label in (("seconds", "wall"), ("cpu_seconds", "CPU")):
            ours = [seconds(clock, "ours", "preprocess", name, turn) for turn in turns]
            shares = [seconds(clock, "limit", "decode", "", turn) / ours[turn] for turn in turns]
            line = f"{name}, {label}: preprocessing at {spread(shares, '.0%')} of raw decoding (target {share:.0%})"
            if not options.skip_plain:
                plain = [
                    seconds(clock, "plain", "verify", "", turn) + seconds(clock, "plain", "preprocess", name, turn)
                    for turn in turns
                ]
                ratios = [plain[turn] / (seconds(clock, "ours", "validate", "", turn) + ours[turn]) for turn in turns]
                line += f"; end to end {spread(ratios, '.1f')} times the plain way (target {faster:.0f})"
            print(line)


def spread(values: list[float], form: str) -> str:
    """The median of the rounds, and the lowest and the highest of them."""
    text = format(median(values), form)
    return text if len(values) == 1 else f"{text} ({format(min(values), form)} to {format(max(values), form)})"


def check_equal(folder: Path, filter_name: str) -> None:
    """Both ways must have made the same pixels."""
    import numpy as np

    from vaebench.base.npz import open_array

    ours = open_array(folder / f"ours-{filter_name}" / "test_data.npz")
    with np.load(folder / f"plain-{filter_name}" / "test_data.npz") as plain:
        if not np.array_equal(ours, plain["data"]):
            raise SystemExit(f"{filter_name}: the two ways made different pixels")


def run_stage(task: dict) -> None:
    """A stage, in its own process."""
    folder, stage = Path(task["folder"]), task["stage"]
    if stage == "draw":
        from vaebench.data.resize.loops import compiled

        draw(folder, Path(task["package"]), task["count"])
        compiled()  # so that no stage is the first on this machine
    elif stage == "limit_decode":
        decode_only(folder, task["workers"])
    elif stage == "ours_validate":
        from vaebench.base.values import from_dict
        from vaebench.data.image_table import ImageFiles
        from vaebench.data.validation import ValidationSettings, validate

        expected = {"format": "JPEG", "mode": "RGB", "width": 178, "height": 218, "min_width": None, "min_height": None}
        settings = DECODING | expected | {"crop": {"center": CROP}, "max_bad_fraction": 0}
        files = ImageFiles(folder / ARCHIVE, folder / PARTITION, folder / TABLE)
        validate(files, folder / "summary.json", from_dict(ValidationSettings, settings), task["workers"])
    elif stage == "ours_preprocess":
        preprocess_ours(folder, task["filter"], task["workers"])
    elif stage == "plain_verify":
        verify_plain(folder)
    else:
        preprocess_plain(folder, task["filter"], task["workers"])


def draw(folder: Path, package: Path, count: int) -> None:
    """Write the pool of distinct JPEGs."""
    from vaebench.data.demo.faces import draw_faces, encode_jpeg, load_generator

    (folder / "pool").mkdir()
    for row, face in enumerate(draw_faces(load_generator(package), count, seed=0)):
        (folder / "pool" / f"{row:06d}.jpg").write_bytes(encode_jpeg(face, QUALITY))


def decode_only(folder: Path, workers: int) -> None:
    """The limit: every file of the zip decoded, and thrown away."""
    from vaebench.data.archive.images import open_images
    from vaebench.data.worker_pool import in_order, worker_pool

    source = open_images(folder / ARCHIVE)
    with worker_pool(workers) as pool:
        _, places = source.index()
        batches = ((source, places[start : start + 512]) for start in range(0, len(places), 512))
        assert sum(in_order(pool, decode_batch, batches)) == len(places)


def decode_batch(source, places) -> int:  # noqa: ANN001
    """Decode the images at `places`; returns how many."""
    import simplejpeg

    for place in places:
        simplejpeg.decode_jpeg(source.read_at(place))
    return len(places)


def preprocess_ours(folder: Path, filter_name: str, workers: int) -> None:
    """The library's preprocessing."""
    from vaebench.base.values import from_dict
    from vaebench.data.image_table import ImageFiles
    from vaebench.data.preprocessing import PreprocessingSettings, preprocess

    settings = DECODING | {
        "crop": {"center": CROP},
        "size": [SIZE, SIZE],
        "filter": filter_name,
        "channels": 3,
        "batch_size": 512,
        "decoder": "libjpeg",
        "device": "cpu",
        "compress": False,
        "limit": None,
    }
    outputs = {split: folder / f"ours-{filter_name}" / f"{split}_data.npz" for split in SPLITS}
    files = ImageFiles(folder / ARCHIVE, folder / PARTITION, folder / TABLE)
    preprocess(files, outputs, from_dict(PreprocessingSettings, settings), workers, "bench")


def verify_plain(folder: Path) -> None:
    """The check that passes truncated files."""
    from PIL import Image

    for path in (folder / EXTRACTED).rglob("*.jpg"):
        with Image.open(path) as image:
            image.verify()


def preprocess_plain(folder: Path, filter_name: str, workers: int) -> None:
    """The scripts of the field: DataLoader, list of batches, concatenate, savez_compressed."""
    import numpy as np
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, PILToTensor, Resize

    mode = InterpolationMode[filter_name.upper()]
    transform = Compose([CenterCrop(CROP), Resize((SIZE, SIZE), mode), PILToTensor()])
    (folder / f"plain-{filter_name}").mkdir(exist_ok=True)
    for split in SPLITS:
        images = ImageFolder(folder / EXTRACTED / split, transform)
        batches = [batch.numpy() for batch, _ in DataLoader(images, batch_size=128, num_workers=workers)]
        np.savez_compressed(folder / f"plain-{filter_name}" / f"{split}_data.npz", data=np.concatenate(batches))


if __name__ == "__main__":
    main()

"""One training from its files to its model: what is read, what is written, and that no two processes do it at once."""

import sys
from dataclasses import replace
from typing import Any

from vaebench.base.devices import choose_device
from vaebench.base.failures import full_disk_said
from vaebench.base.files import remove_left_overs
from vaebench.base.interruption import Interruption
from vaebench.base.npz import pixels_sha256
from vaebench.base.provenance import environment, write_provenance
from vaebench.models.interface import Autoencoder
from vaebench.models.run_spec import RunSpec
from vaebench.models.storage import save_model
from vaebench.training.checkpoint import Checkpoint
from vaebench.training.numerics import numerics, peak_memory_mb
from vaebench.training.precision import choose_precision
from vaebench.training.record import TrainingFiles, training_key, write_history
from vaebench.training.state_folder import held
from vaebench.training.tracking import open_tracker
from vaebench.training.trainer import Trainer


def train(spec: RunSpec, seed: int, files: TrainingFiles, code: str, threads: int, tracking: str = "none") -> None:
    """Train the run `spec` with `seed` and write the model, its history and its provenance.

    The state is used again only with the same specification, seed, `code` (a fingerprint) and data. On SIGTERM,
    SIGUSR1 and SIGINT the state is saved and the process ends (`Interrupted`) with 128 + the signal's number; once the
    last epoch is done they are ignored. The last state stays: with it the results are written again without training,
    until `state_folder.forget` removes it. No two processes train with one state folder at a time. Precision
    `auto` is chosen for the device; a state that another device left in fp32 goes on in it. Raises `UserError` on a
    wrong setting, a loss that is not finite or diverges (state/failure.json then names the term and the step), and when
    memory or the disk runs out.
    """
    with full_disk_said(files.state), held(files.state):
        for path in (files.output, files.history, files.provenance):
            remove_left_overs(path)
        training, record = spec.training, spec.as_record()
        device = choose_device(training.device)
        data = {"train": pixels_sha256(files.train), "eval": pixels_sha256(files.eval)}
        checkpoint = Checkpoint(files.state, training_key(spec, seed, code, data))
        precision = choose_precision(spec, device, checkpoint.precisions())
        resolved = replace(spec, training=replace(training, precision=precision))
        with numerics(resolved.training, device, threads), Interruption() as interruption:
            trainer = Trainer(resolved, seed, files, device, checkpoint, interruption)
            attempt = {"resumed_at_epoch": trainer.progress.epoch, "precision": precision}
            attempts = checkpoint.begin_attempt({**environment(str(device)), **attempt})
            with open_tracker(tracking, files.state / "tracking", f"{spec.run}-seed{seed}", record) as tracker:
                trainer.run_or_explain(tracker)
            interruption.finished = True
            best = trainer.best_model()
            save_model(best, record, files.output)
            write_history(trainer.progress.rows, files.history)
            given = {"spec": record, "seed": seed, "code": code, "data": data, "threads": threads}
            found = {"attempts": attempts, "environment": environment(str(device)), **_course(trainer, best)}
            write_provenance(files.provenance, given | found)
            checkpoint.finish()
            print(
                f"{spec.run} seed {seed}: {trainer.progress.epoch} epochs in {trainer.progress.total_seconds:.0f} s "
                f"({found['precision']}), kept epoch {trainer.progress.best['epoch']} ({training.select}); "
                f"model in {files.output}",
                file=sys.stderr,
            )


def _course(trainer: Trainer, best: Autoencoder) -> dict[str, Any]:
    """How a training went, for its provenance; `best` is the model that it gave."""
    progress = trainer.progress
    return {
        "parameters": sum(parameter.numel() for parameter in best.parameters() if parameter.requires_grad),
        "kept_epoch": progress.best["epoch"],
        "kept_by": {"metric": trainer.training.select, "value": progress.best["value"]},
        "epochs": progress.epoch,
        "steps": progress.steps,
        "images_seen": progress.images_seen,
        "seconds": progress.total_seconds,
        "peak_memory_mb": peak_memory_mb(trainer.device),
        "precision": ", then ".join(progress.precisions),
    }

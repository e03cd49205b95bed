"""One training from its files to its model: what is read, what is written, and that no two processes do it at once."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from vaebench.base.devices import choose_device
from vaebench.base.failures import full_disk_as_user_error
from vaebench.base.files import remove_left_overs
from vaebench.base.interruption import Interruption
from vaebench.base.provenance import environment, write_provenance
from vaebench.models.interface import Autoencoder
from vaebench.models.storage import save_model
from vaebench.training.checkpoint import Checkpoint
from vaebench.training.numerics import numerics, peak_memory_mb
from vaebench.training.precision import choose_precision
from vaebench.training.record import TrainingJob, write_history
from vaebench.training.state_folder import held, refusals_as_user_errors
from vaebench.training.tracking import open_tracker
from vaebench.training.trainer import Trainer


def train(job: TrainingJob, threads: int, tracking: str = "none") -> None:
    """Train the run of `job` with its seed and write the model, its history and its provenance.

    The state is used again only with the same specification, seed, code and data. On SIGTERM, SIGUSR1 and SIGINT the
    state is saved and the process ends (`Interrupted`) with 128 + the signal's number; after the last epoch these
    signals are ignored. The last state stays: with it the results are written again without training, until
    `state_folder.forget` removes it. No two processes train with one state folder at a time. Precision `auto` is chosen
    for the device; a state that was computed in fp32 on another device goes on in fp32. Raises `UserError` on a wrong
    setting, a loss that is not finite or diverges (state/failure.json then names the term and the step), and when
    memory or the disk runs out.
    """
    spec, seed, files = job.spec, job.seed, job.files
    with trainer_at_work(job, threads) as trainer:
        for path in (files.output, files.history, files.provenance):
            remove_left_overs(path)
        device, record = str(trainer.device), spec.as_record()
        attempt = {"resumed_at_epoch": trainer.progress.epoch, "precision": trainer.training.precision}
        attempts = trainer.checkpoint.begin_attempt({**environment(device), **attempt})
        with open_tracker(tracking, files.state / "tracking", f"{spec.run}-seed{seed}", record) as tracker:
            trainer.run_or_explain(tracker)
        trainer.interruption.finished = True
        best = trainer.best_model()
        save_model(best, replace(spec, config=trainer.spec.config).as_record(), files.output)
        write_history(trainer.progress.rows, files.history)
        given = {"spec": record, "seed": seed, "code": job.code, "data": job.data_digests(), "threads": threads}
        found = {"attempts": attempts, "environment": environment(device), **_course(trainer, best)}
        write_provenance(files.provenance, given | files.chosen() | found)
        trainer.checkpoint.finish()
        print(
            f"{spec.run} seed {seed}: {trainer.progress.epoch} epochs in {trainer.progress.total_seconds:.0f} s "
            f"({found['precision']}), kept epoch {trainer.progress.best['epoch']} ({spec.training.select}); "
            f"model in {files.output}",
            file=sys.stderr,
        )


@contextmanager
def trainer_at_work(job: TrainingJob, threads: int) -> Iterator[Trainer]:
    """In the block: the trainer, with the last saved state restored; no other process uses that state meanwhile.

    Signals that ask to stop are noted, and torch uses the threads and the precision of the specification. Raises as
    `train`.
    """
    state = job.files.state
    with full_disk_as_user_error(state), refusals_as_user_errors(state), held(state):
        device = choose_device(job.spec.training.device)
        checkpoint = Checkpoint(state, job.key())
        precision = choose_precision(job.spec, device, checkpoint.precisions())
        settings = replace(job.spec.training, precision=precision)
        resolved = replace(job, spec=replace(job.spec_with_label_values(), training=settings))
        with numerics(settings, device, threads), Interruption() as interruption:
            yield Trainer(resolved, device, checkpoint, interruption)


def _course(trainer: Trainer, best: Autoencoder) -> dict[str, Any]:
    """How a training went, for its provenance; `best` is the trained model."""
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

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
from vaebench.models.run_spec import RunSpec
from vaebench.models.storage import save_model
from vaebench.training.checkpoint import Checkpoint
from vaebench.training.numerics import numerics, peak_memory_mb
from vaebench.training.precision import choose_precision
from vaebench.training.record import TrainingFiles, training_key, write_history
from vaebench.training.state_folder import held, refusals_as_user_errors
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
    with trainer_at_work(spec, seed, files, code, threads) as trainer:
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
        given = {"spec": record, "seed": seed, "code": code, "data": files.digests(spec), "threads": threads}
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
def trainer_at_work(spec: RunSpec, seed: int, files: TrainingFiles, code: str, threads: int) -> Iterator[Trainer]:
    """The trainer of a training as far as that came, in the block; nobody else uses its state meanwhile.

    A request to stop is noted, and torch computes as the specification says. Raises as `train`.
    """
    with full_disk_as_user_error(files.state), refusals_as_user_errors(files.state), held(files.state):
        device = choose_device(spec.training.device)
        checkpoint = Checkpoint(files.state, training_key(spec, seed, code, files.digests(spec)))
        precision = choose_precision(spec, device, checkpoint.precisions())
        resolved = replace(files.with_label_values(spec), training=replace(spec.training, precision=precision))
        with numerics(resolved.training, device, threads), Interruption() as interruption:
            yield Trainer(resolved, seed, files, device, checkpoint, interruption)


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

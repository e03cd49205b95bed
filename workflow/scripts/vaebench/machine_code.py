"""The loops of `loops.py` as machine code: numba compiles them once for each kind of processor, llvmlite loads them.

Loading the compiler takes half a second and 100 MB in every process; loading what it made, four milliseconds.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from ctypes import CFUNCTYPE, c_int64
from functools import cache
from importlib.metadata import version
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING

import llvmlite.binding as llvm
import numpy as np

from vaebench.files import atomic_path
from vaebench.filters import BITS

if TYPE_CHECKING:
    from numba.core.ccallback import CFunc

ARGUMENTS = {"resize": 11, "channel_sums": 5}  # how many each function has
DIGEST_BYTES = hashlib.sha256().digest_size  # before the code in the file that keeps it


@cache
def compiled(function: str) -> Callable[..., None]:
    """A function of `loops.py`; its arguments are integers: sizes, and the addresses of arrays."""
    return CFUNCTYPE(None, *[c_int64] * ARGUMENTS[function])(_engine().get_function_address(function))


def address(array: np.ndarray) -> int:
    """Where the first element of an array is, for as long as the array lives."""
    return array.__array_interface__["data"][0]


@cache
def _engine() -> llvm.ExecutionEngine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    processor, features = llvm.get_host_cpu_name(), ""
    with suppress(RuntimeError):  # not known of every processor
        features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=processor, features=features, opt=3, jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(_machine_code(machine, f"{processor} {features}")))
    engine.finalize_object()
    return engine


def _machine_code(machine: llvm.TargetMachine, processor: str) -> bytes:
    """The machine code for this processor, as it was kept, or newly compiled and kept."""
    source = Path(__file__).with_name("loops.py")
    parts = source.read_text(), BITS, processor, version("numba"), version("llvmlite")
    paths = tuple(_places(source, f"loops.{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}.code"))
    for path in paths:
        with suppress(OSError):
            kept = path.read_bytes()
            digest, code = kept[:DIGEST_BYTES], kept[DIGEST_BYTES:]
            if hashlib.sha256(code).digest() == digest:  # LLVM dies of damaged code
                return code
    from vaebench import loops

    code = compile_functions(machine, {name: getattr(loops, name) for name in ARGUMENTS})
    for path in paths:
        with suppress(OSError), atomic_path(path) as temporary:
            temporary.write_bytes(hashlib.sha256(code).digest() + code)
            break
    return code


def _places(source: Path, name: str) -> Iterator[Path]:
    """Where machine code may be kept: beside Python's own compiled files, or with the user where that is read-only."""
    yield Path(cache_from_source(source)).with_name(name)
    with suppress(RuntimeError):  # no home
        yield Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vaebench" / name


def compile_functions(machine: llvm.TargetMachine, functions: "Mapping[str, CFunc]") -> bytes:
    """An object file with these functions; RuntimeError when one needs Python: to raise exceptions or get memory."""
    module = llvm.parse_assembly("")
    for name, function in functions.items():
        part = llvm.parse_assembly(function.inspect_llvm())
        part.get_function(function.native_name).name = name
        module.link_in(part)
    for definition in (*module.functions, *module.global_variables):
        if not definition.is_declaration and definition.name not in functions:
            definition.linkage = "internal"  # so that what serves only Python's exceptions is found to be useless
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(module, passes)
    needed = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    if needed:
        raise RuntimeError(f"the compiled loops need Python: {', '.join(needed)}")
    return machine.emit_object(module)

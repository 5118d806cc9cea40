"""`autoseg doctor`: what this machine is, what autoseg will do with it, and what to change."""

from __future__ import annotations

import os
import shutil
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

from ..core import machine
from ..core.amounts import bytes_text
from ..core.disks import kind_of_disk
from ..core.files import nearest_folder, refuse_unwritable
from ..core.mishaps import explained, printable
from ..core.names import counted, short
from ..settings import RunSettings, computes, resolve
from .doctor_packages import FINE, NOTE, PROBLEM, Finding, packages

WIDTH = 100
LITTLE_MEMORY = 2 << 30  # bytes; the smallest trainings take about one
LITTLE_ROOM, NO_ROOM = 10 << 30, 100 << 20  # bytes of a disk
SHARED = Path("/dev/shm")
NVIDIA = Path("/proc/driver/nvidia/version")
"""There where NVIDIA's driver is loaded."""
KINDS = {
    "network drive": "keep the workspace on a disk of this machine (--workspace): training reads from it all the time",
    "rotating disk": "a solid-state disk serves patches faster, where training is seen to wait for data",
    "memory": "what lies there is gone after a restart; choose another --workspace to keep it",
}


def doctor(workspace: Path, settings: RunSettings) -> list[Finding]:
    """Everything that was looked at. Nothing is left on the disk. Raises UsageError for a device that is not there."""
    found = packages()
    if not any(each.topic == "torch" and each.state == PROBLEM for each in found):
        found += [*_processor(settings), *_gpus(), *_precision(settings)]
    return [*found, *_memory(), *_disk(workspace), _temporary(), *_shared()]


def can_work(found: list[Finding]) -> bool:
    return all(each.state != PROBLEM for each in found)


def doctor_table(found: list[Finding]) -> str:
    """For a terminal: below each thing what to change, if anything."""
    width = max(len(each.topic) for each in found)
    lines = []
    for each in found:
        told = f"{'PROBLEM: ' * (each.state == PROBLEM)}{printable(each.found)}"
        for place, text in enumerate(filter(None, (told, each.advice and f"-> {each.advice}"))):
            start = f"{'' if place else each.topic:<{width}}  "
            lines += textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start))
    wrong = sum(each.state == PROBLEM for each in found)
    lines += ["", "autoseg can work here" if not wrong else f"autoseg cannot work here: {counted(wrong, 'problem')}"]
    return "\n".join(lines)


def _processor(settings: RunSettings) -> Iterator[Finding]:
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    half = "with" if computes(torch.bfloat16) else "without"
    cores, there = machine.cores(), os.cpu_count() or 1
    yield Finding("processor", FINE, f"{machine.processor()}: {capability}, {half} instructions for bfloat16")
    found = f"{settings.threads} used, {cores} allowed, {there} there"
    if settings.threads > cores:
        yield Finding("threads", NOTE, found, f"more threads than cores wait for each other; --threads {cores}")
    elif cores < there:
        yield Finding("threads", FINE, f"{found} (limited by the container, job or affinity of this process)")
    else:
        yield Finding("threads", FINE, found)


def _gpus() -> Iterator[Finding]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for number in range(count):
        try:
            free, total = torch.cuda.mem_get_info(number)
            name = f"{torch.cuda.get_device_name(number)}: {bytes_text(free)} of {bytes_text(total)} free"
        except RuntimeError as error:  # another program has it for itself, or there is nothing left of it
            why = str(error).strip().partition("\n")[0]
            yield Finding(f"cuda:{number}", NOTE, f"cannot be used: {short(why)}", "choose another --device")
            continue
        taken = free < total / 2
        advice = "other programs hold the rest (nvidia-smi); end them, or choose another --device" if taken else ""
        yield Finding(f"cuda:{number}", NOTE if taken else FINE, name, advice)
    if count:
        return
    if torch.backends.mps.is_available():
        yield Finding("mps", FINE, "Apple's GPU")
    elif NVIDIA.exists():
        how = "with" if torch.version.cuda else "without"
        cure = "update the driver" if torch.version.cuda else "install a torch with CUDA, as pytorch.org shows"
        yield Finding("GPU", NOTE, f"NVIDIA's driver is there, but torch, built {how} CUDA, sees no GPU", cure)
    else:
        yield Finding("GPU", FINE, "none is seen: the processor trains and predicts")


def _precision(settings: RunSettings) -> Iterator[Finding]:
    trains, predicts = resolve(settings), resolve(settings, predicting=True)
    named = [str(each.dtype or "float32").removeprefix("torch.") for each in (trains, predicts)]
    yield Finding("precision", FINE, f"on {trains.device}: trains in {named[0]}, predicts in {named[1]}")


def _memory() -> Iterator[Finding]:
    total, limit, free = machine.installed_bytes(), machine.memory_bytes(), machine.available_bytes()
    found = f"{bytes_text(free)} available of {bytes_text(limit)}"
    if total is not None and limit < total:
        found += f", a limit of the container or job; the machine has {bytes_text(total)}"
    if free < LITTLE_MEMORY:
        yield Finding("memory", NOTE, found, "end other programs, or raise the limit: the smallest trainings take 1 GB")
    else:
        yield Finding("memory", FINE, found)


def _disk(workspace: Path) -> Iterator[Finding]:
    where = workspace.absolute()
    try:
        refuse_unwritable(where)
        folder = nearest_folder(where)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield Finding("workspace", PROBLEM, explained(error) or str(error), "choose another --workspace")
        return
    kind = kind_of_disk(folder)
    found = f"{where}: {bytes_text(free)} free" + (f", {kind}" if kind else "")
    if free < LITTLE_ROOM:
        advice = "free some space: prepared cases, checkpoints and predictions lie there"
        yield Finding("workspace", PROBLEM if free < NO_ROOM else NOTE, found, advice)
    elif advice := KINDS.get(kind or "", ""):
        yield Finding("workspace", NOTE, found, advice)
    else:
        yield Finding("workspace", FINE, found)


def _temporary() -> Finding:
    try:
        folder = Path(tempfile.gettempdir())
        refuse_unwritable(folder)
    except OSError as error:
        return Finding(
            "temporary", PROBLEM, explained(error) or str(error), "name a folder that can be written: TMPDIR"
        )
    return Finding("temporary", FINE, f"{folder}: {bytes_text(shutil.disk_usage(folder).free)} free")


def _shared() -> Iterator[Finding]:
    if not SHARED.is_dir():
        return
    found = f"{bytes_text(shutil.disk_usage(SHARED).free)} free; autoseg works with threads and needs none of it"
    yield Finding(str(SHARED), FINE, found)

"""The command line: chooses a command and turns errors into messages. The only reader of the environment.

Nothing heavy is imported before a command has been chosen: ``autoseg --help`` must answer at once.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from pathlib import Path
from typing import TextIO

from . import commands
from .errors import AutosegError, StoppedError

LOG = logging.getLogger("autoseg")
WORKSPACE_VARIABLE = "AUTOSEG_WORKSPACE"
# Read by torch and numpy when they are loaded. Threads that wait for each other in a busy loop take the processor from
# those they wait for as soon as any other program runs: a training step then took up to 9 times as long (2 cores, torch
# 2.13), and preparing cases 12 times. A short busy wait costs nothing on a quiet machine. Our own threads fill the
# cores, so numpy needs none of its own. Nor does Blosc2, which starts and ends two threads for every chunk unless its
# variable forbids it, whatever the arrays' own parameters say: writing a case of 36 slices took 25 times as long.
CALM_THREADS = {"GOMP_SPINCOUNT": "10000", "OPENBLAS_NUM_THREADS": "1", "BLOSC_NTHREADS": "1"}

REPEATABLE = {
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8"
}  # without it cuBLAS is not deterministic (NVIDIA's manual of cuBLAS)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0 done, 1 some cases failed, 2 a message to the user, 130 interrupted.
    """
    words = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(words)
    options.arguments = words  # for a command that starts itself again
    for name, value in (CALM_THREADS | (REPEATABLE if getattr(options, "deterministic", False) else {})).items():
        os.environ.setdefault(name, value)
    _log_to(sys.stderr)
    try:
        return int(options.run(options) or 0)
    except StoppedError as error:
        sys.stderr.write(f"autoseg {options.command}: {error}\n")
        return 130
    except AutosegError as error:
        sys.stderr.write(f"autoseg {options.command}: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again to continue\n")
        return 130


def _log_to(stream: TextIO) -> None:
    """Our own messages, not those of the libraries."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.INFO)


def parser() -> argparse.ArgumentParser:
    """All commands and their flags."""
    top = argparse.ArgumentParser(
        prog="autoseg",
        description="Self-configuring segmentation of medical images: one folder in, one model out.",
        epilog="DATASET is a folder, a full name (Dataset004_Hippocampus), a bare name (Hippocampus) or a number (4).",
    )
    steps = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in commands.NAMES:
        module = importlib.import_module(f"{commands.__name__}.{name}")
        command = steps.add_parser(
            name.rstrip("_"), help=module.HELP, description=module.HELP[0].upper() + module.HELP[1:] + "."
        )
        command.set_defaults(run=module.run)
        _add_to_all(command)
        module.add_flags(command)
    return top


def _add_to_all(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--workspace",
        type=Path,
        default=Path(os.environ.get(WORKSPACE_VARIABLE, "autoseg_workspace")),
        metavar="FOLDER",
        help=f"where everything is written (default: ${WORKSPACE_VARIABLE}, else ./autoseg_workspace)",
    )
    command.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="allow parts of this package")

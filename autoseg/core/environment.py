"""The environment of the process: the only place that reads it or adds to it."""

from __future__ import annotations

import os
from collections.abc import Mapping

WORKSPACE_VARIABLE = "AUTOSEG_WORKSPACE"
WORKSPACE = "autoseg_workspace"

# Read by torch and numpy when they are loaded. Threads that wait for each other in a busy loop take the processor from
# those they wait for as soon as any other program runs: a training step then took up to 9 times as long (2 cores, torch
# 2.13), and preparing cases 12 times. A short busy wait costs nothing on a quiet machine.
SHORT_WAITS = {"GOMP_SPINCOUNT": "10000"}
# Our own threads fill the cores, so numpy needs none of its own. Nor does Blosc2, which starts and ends two threads for
# every chunk unless its variable forbids it, whatever the arrays' own parameters say: writing a case of 36 slices took
# 25 times as long. A notebook's numpy keeps its threads: only commands say this.
OWN_THREADS = {"OPENBLAS_NUM_THREADS": "1", "BLOSC_NTHREADS": "1"}
REPEATABLE = {
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8"
}  # without it cuBLAS is not deterministic (NVIDIA's manual of cuBLAS)


def default_workspace() -> str:
    """The folder where everything is written unless another one is named."""
    return os.environ.get(WORKSPACE_VARIABLE, WORKSPACE)


def leads() -> bool:
    """Whether this process speaks for all that torchrun has started; one alone does."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK", "0") == "0"


def ask_for(*wishes: Mapping[str, str]) -> None:
    """Sets variables that nobody has set."""
    for wish in wishes:
        for name, value in wish.items():
            os.environ.setdefault(name, value)

"""Memory of a training step, counted beforehand and measured in a fresh process, for five plans of different shape.

python benchmarks/measured_memory.py > benchmarks/results/measured_memory.json

Measured twice per plan, in its second step: by torch's allocator (torch.profiler's memory events; oneDNN's working
memory goes through it, too), and as the main memory of the process at its highest, which adds what glibc's heap loses
between blocks. ``counted`` is compared with the first, ``planned`` (what a plan says of the whole training) with the
second. Batches read ahead, which these processes have not, are left out of both.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from typing import Any

from autoseg.core.labels import ExclusiveLabels
from autoseg.core.process import keep_freed, peak_memory_bytes
from autoseg.data.dataset import Case, Dataset
from autoseg.data.fingerprint import CaseFingerprint, Fingerprint, Intensities
from autoseg.plan import Plan

# planner, shape, spacing, channels, batch, precision
PLANS: tuple[tuple[str, tuple[int, int, int], tuple[float, float, float], int, int, str], ...] = (
    ("cpu", (36, 50, 35), (1.0, 1.0, 1.0), 1, 2, "bfloat16"),  # small and isotropic
    ("cpu", (10, 256, 224), (10.0, 1.5, 1.5), 1, 2, "bfloat16"),  # thick slices
    ("plain_unet", (64, 64, 64), (1.0, 1.0, 1.0), 4, 2, "bfloat16"),  # nnU-Net's width, four channels
    ("residual_m", (48, 64, 64), (1.0, 1.0, 1.0), 1, 2, "float32"),  # residual encoder, no half precision
    ("cpu", (1, 512, 512), (1.0, 0.8, 0.8), 3, 8, "bfloat16"),  # 2-D colour
)


def plan_of(planner: str, shape: Any, spacing: Any, channels: int, batch: int) -> Plan:
    from autoseg.pipeline.make_plan import PLANNERS

    keys = [f"case_{index}" for index in range(50)]
    cases = tuple(Case.of_files(key, (f"{key}.nii.gz",), f"{key}.nii.gz") for key in keys)
    labels = ExclusiveLabels({"background": 0, "a": 1, "b": 2})
    names = tuple(f"channel {index}" for index in range(channels))
    dataset = Dataset("Dataset001_Made", "made", names, labels, cases, ".nii.gz", "nnunet")
    measured = CaseFingerprint(tuple(shape), tuple(spacing), tuple(shape), 1.0, "")
    intensities = (Intensities(0.0, 0.0, 1.0, -3.0, 3.0, -2.0, 2.0),) * channels
    plan = PLANNERS.load(planner).plan(dataset, Fingerprint(dict.fromkeys(keys, measured), intensities))
    name, configuration = plan.configuration()
    return dataclasses.replace(
        plan, configurations={name: dataclasses.replace(configuration, batch_size=batch)}, default=name
    )


def measure(planner: str, shape: Any, spacing: Any, channels: int, batch: int, precision: str) -> dict[str, Any]:
    """In a process of its own."""
    from torch.profiler import ProfilerActivity, profile

    from autoseg.pipeline.bench import this_machine
    from autoseg.settings import RunSettings, resolve
    from autoseg.training.accounting import READ_AHEAD, step_memory
    from autoseg.training.arithmetic import arithmetic
    from autoseg.training.state import start
    from autoseg.training.step import MIDWAY, Step
    from autoseg.training.timed_steps import made_up_batch

    plan = plan_of(planner, shape, spacing, channels, batch)
    task = plan.task()
    settings = RunSettings(device="cpu", precision=precision)
    resolved = resolve(settings)
    keep_freed()  # as `autoseg train` does
    with arithmetic(settings, resolved):
        state, read = start(task, settings), made_up_batch(task)
        step = Step.of(task, resolved, 0, state.network)
        step(state, step.augmented(read, 0), MIDWAY)
        step(state, step.augmented(read, 1), MIDWAY)
        process = peak_memory_bytes()
        state.optimizer.zero_grad(set_to_none=True)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            step(state, step.augmented(read, 1), MIDWAY)
    counted = step_memory(task, resolved, settings.threads)
    size = sum(patch.nbytes for patch in (*read.images, *read.targets))
    held = most = counted.weights + counted.optimizer + size
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    ahead = READ_AHEAD * size
    planned = this_machine(settings).total(counted) - ahead
    return {
        "planner": planner,
        "patch": list(task.configuration.patch_size),
        "batch": batch,
        "channels": channels,
        "features": [task.configuration.network.features[0], max(task.configuration.network.features)],
        "precision": precision,
        "counted_mb": round((counted.peak - ahead) / 1e6, 1),
        "allocated_mb": round(most / 1e6, 1),
        "counted_over_allocated": round((counted.peak - ahead) / most, 3),
        "planned_process_mb": round(planned / 1e6, 1),
        "process_mb": None if process is None else round(process / 1e6, 1),
        "planned_over_process": None if process is None else round(planned / process, 3),
    }


def main() -> None:
    if len(sys.argv) > 1:
        print("RESULT" + json.dumps(measure(*json.loads(sys.argv[1]))))
        return
    rows = []
    for chosen in PLANS:
        run = subprocess.run(
            [sys.executable, __file__, json.dumps(chosen)],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"GOMP_SPINCOUNT": "10000"},
        )
        rows.append(json.loads(next(line for line in run.stdout.splitlines() if line.startswith("RESULT"))[6:]))
        print(rows[-1], file=sys.stderr)
    import torch

    result = {
        "command": "python benchmarks/measured_memory.py",
        "torch": torch.__version__.partition("+")[0],
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "plans": rows,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

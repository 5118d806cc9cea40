"""Training steps of one network as it is and compiled by torch, in turn: what compiling costs and what it gains.

python benchmarks/torch_compile.py --device cpu --precision bfloat16

The network is what the `cpu` planner plans for hippocampi: four stages, 16 to 128 features, two 40 x 56 x 40 patches.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

from autoseg.core.environment import OWN_THREADS, SHORT_WAITS

os.environ.update(SHORT_WAITS | OWN_THREADS)  # before torch is loaded, as the command line does

import torch

from autoseg.core.inputs import InputSpec
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.samples import Samples
from autoseg.parts.losses import dice_ce
from autoseg.parts.networks import plain_unet
from autoseg.settings import RunSettings, resolve
from autoseg.training.arithmetic import Forward, autocast
from autoseg.training.deep_supervision import DeepSupervision

NETWORK = plain_unet.Spec(
    features=(16, 32, 64, 128),
    kernels=((3, 3, 3),) * 4,
    strides=((1, 1, 1), *((2, 2, 2),) * 3),
    blocks_encoder=(2,) * 4,
    blocks_decoder=(2,) * 3,
)
SHAPE = (2, 1, 40, 56, 40)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--precision", default="auto")
    arguments.add_argument("--steps", type=int, default=15)
    arguments.add_argument("-o", "--output", type=Path, help="JSON file for the result")
    options = arguments.parse_args()
    settings = RunSettings(device=options.device, precision=options.precision)
    run = resolve(settings)
    torch.set_num_threads(settings.threads)
    network = NETWORK.build(InputSpec.of_image(1), 3).to(run.device)
    loss = dice_ce.Spec(batch_dice=False).build(ExclusiveLabels({"background": 0, "anterior": 1, "posterior": 2}))
    supervision = DeepSupervision.of(loss)
    images = torch.randn(SHAPE, device=run.device)
    targets = torch.randint(0, 3, (SHAPE[0], *SHAPE[2:]), device=run.device)
    seen = InputSpec.of_image(1)
    samples = Samples(images, targets, ("noise",) * SHAPE[0], (1.0,) * 3, seen)

    def step(forward: Forward) -> float:
        network.zero_grad(set_to_none=True)
        began = time.perf_counter()
        with autocast(run):
            logits = forward(images)
        supervision.judge(supervision.measure(logits, samples)).backward()
        if run.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    for _ in range(3):
        step(network)
    compiled: Forward = torch.compile(network)
    began = time.perf_counter()
    step(compiled), step(compiled)
    seconds = time.perf_counter() - began
    pairs = [(step(network), step(compiled)) for _ in range(options.steps)]
    result = {
        "command": "python benchmarks/torch_compile.py " + " ".join(sys.argv[1:]),
        "torch": torch.__version__,
        "cores": settings.threads,
        "precision": str(run.dtype or torch.float32),
        "compiling_seconds": round(seconds, 1),
        "eager_seconds_per_step": round(statistics.median(eager for eager, _ in pairs), 4),
        "compiled_seconds_per_step": round(statistics.median(other for _, other in pairs), 4),
        "eager_over_compiled_median": round(statistics.median(eager / other for eager, other in pairs), 3),
    }
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output is not None:
        options.output.write_text(text)


if __name__ == "__main__":
    main()

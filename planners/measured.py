"""The default: measures what a training step costs on this machine and plans the largest that memory and time allow.

Four sizes of network, each with the patches it is meant for and the iterations it takes to be worth its size. The first
learns in minutes on two processor cores. The second sees the same patches with twice as many feature maps and learns
more from each: hippocampi, 1000 iterations, Dice 0.888 and 0.888 (folds 0 and 1) where the first has 0.886 and 0.882,
and still 0.886 after 3400 (fold 0). The third is nnU-Net's, the last its residual preset, whose Dice is as good or
better at the same memory on most datasets (Isensee et al. 2024). A training without a limit sees as many voxels as
nnU-Net's 250 000 iterations do. Batches end at 32 slices or 16 volumes, or nnU-Net's where that is larger: beyond, a
step takes longer and teaches hardly more. That one batch may hold all training voxels, and not a twentieth of them, is
the residual presets' rule, too: of 50 small images two at a time would leave a GPU idle.

All sizes need the same prepared cases, whichever is taken: measuring can wait for the machine that trains.
"""

from dataclasses import replace

from autoseg.planning.measured import MeasuringPlanner
from autoseg.planning.patch import StepBudget
from autoseg.planning.rungs import Rung
from autoseg.planning.sizes import UNetSizes

from . import cpu, plain_unet, residual_m

WIDER = replace(
    cpu.PLANNER,
    unet_2d=UNetSizes(base_features=32, largest_features=512),
    unet_3d=UNetSizes(base_features=32, largest_features=256),
    budget_2d=StepBudget(elements=6.6e6, batch=12, largest_batch=32),
    budget_3d=StepBudget(elements=40e6, batch=2, largest_batch=2),
)
PLAIN = replace(
    plain_unet.PLANNER,
    largest_share=residual_m.PLANNER.largest_share,
    budget_2d=StepBudget(elements=30e6, batch=12, largest_batch=32),
    budget_3d=StepBudget(elements=200e6, batch=2, largest_batch=16),
    dice_by_labels=True,
)
RESIDUAL = replace(
    residual_m.PLANNER,
    budget_2d=replace(residual_m.PLANNER.budget_2d, largest_batch=32),
    budget_3d=replace(residual_m.PLANNER.budget_3d, largest_batch=16),
    dice_by_labels=True,
)

PLANNER = MeasuringPlanner(
    name="measured",
    description="the largest network, patch and batch for which this machine has memory and time",
    rungs=(Rung(cpu.PLANNER, 2_000), Rung(WIDER, 1_000), Rung(PLAIN, 30_000), Rung(RESIDUAL, 100_000)),
    patience=20 * 60.0,
    reference=plain_unet.PLANNER,
)

"""nnU-Net's residual encoder U-Net, size XL: residual_m for a GPU with 40 GB.

Isensee et al. 2024; numbers from nnU-Net v2 2.8.1 ``nnUNetPlannerResEncXL``. Same fingerprint, same plan.
"""

from dataclasses import replace

from autoseg.planning.patch import StepBudget

from . import residual_m

PLANNER = replace(
    residual_m.PLANNER,
    name="residual_xl",
    description="nnU-Net's residual encoder U-Net for a GPU with 40 GB, 1000 epochs",
    budget_2d=StepBudget(elements=560e6, batch=12, batch_of_patch=12),
    budget_3d=StepBudget(elements=3.6e9, batch=2),
)

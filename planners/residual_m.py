"""nnU-Net's residual encoder U-Net, size M: a GPU with 8 GB.

Isensee et al. 2024; numbers from nnU-Net v2 2.8.1 ``nnUNetPlannerResEncM``. Same fingerprint, same plan.
"""

from autoseg.configuration import TrainingRules
from autoseg.parts.networks import residual_unet
from autoseg.parts.optimizers import sgd
from autoseg.parts.schedules import polynomial
from autoseg.planning.patch import StepBudget
from autoseg.planning.planner import Planner
from autoseg.planning.sizes import UNetSizes

PLANNER = Planner(
    name="residual_m",
    description="nnU-Net's residual encoder U-Net for a GPU with 8 GB, 1000 epochs",
    unet_2d=UNetSizes(32, 512, template=residual_unet.Spec, blocks_encoder=(1, 3, 4, 6), blocks_decoder=1),
    unet_3d=UNetSizes(32, 320, template=residual_unet.Spec, blocks_encoder=(1, 3, 4, 6), blocks_decoder=1),
    budget_2d=StepBudget(elements=135e6, batch=12, batch_of_patch=12),
    budget_3d=StepBudget(elements=680e6, batch=2),
    training=TrainingRules(epochs=1000, iterations_per_epoch=250),
    optimizer=sgd.Spec(learning_rate=0.01, momentum=0.99, nesterov=True, weight_decay=3e-5),
    schedule=polynomial.Spec(power=0.9),
    largest_share=1.0,
)

"""nnU-Net's own values: its ExperimentPlanner for a plain convolutional U-Net on a GPU with 8 GB.

Isensee et al. 2021; numbers from nnU-Net v2 2.8.1 ``default_experiment_planner.py``. Same fingerprint, same plan.
"""

from autoseg.configuration import TrainingRules
from autoseg.parts.optimizers import sgd
from autoseg.parts.schedules import polynomial
from autoseg.planning.patch import StepBudget
from autoseg.planning.planner import Planner
from autoseg.planning.sizes import UNetSizes

PLANNER = Planner(
    name="plain_unet",
    description="nnU-Net's plain U-Net for a GPU with 8 GB, 1000 epochs",
    unet_2d=UNetSizes(base_features=32, largest_features=512),
    unet_3d=UNetSizes(base_features=32, largest_features=320),
    budget_2d=StepBudget(elements=85e6, batch=12),
    budget_3d=StepBudget(elements=560e6, batch=2),
    training=TrainingRules(epochs=1000, iterations_per_epoch=250),
    optimizer=sgd.Spec(learning_rate=0.01, momentum=0.99, nesterov=True, weight_decay=3e-5),
    schedule=polynomial.Spec(power=0.9),
)

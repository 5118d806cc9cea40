"""Plans for a processor with a few cores: the rules of plain_unet with a sixteenth of its memory and few iterations.

On two cores in bfloat16 a step costs about 0.01 s per million feature map elements of the batch, in 2-D as in 3-D
(measured with these networks: 0.16 s for two patches of 40 x 56 x 40 voxels). The budgets hold a step to about 0.4 s
and keep a hippocampus (36 x 50 x 35 voxels) whole in one patch, so that the default training takes 7 to 20 minutes.
Muon with a warm-up, because a few thousand iterations are too few for nnU-Net's SGD to settle. What each choice gives
on hippocampi, Dice of fold 0 (two seeds of one training differ by 0.001): after 1000 iterations Muon 0.886 (with rates
of 0.002 and 0.01 0.884 and 0.886), AdamW 0.002 0.876. After 3400 iterations Muon 0.01 0.886, AdamW 0.886; SGD 0.01 with
momentum 0.99, as nnU-Net, 0.878; SGD 0.03 with momentum 0.95 0.883; that with one Dice over the batch 0.884, with an
average of the weights 0.883, without deep supervision 0.883, with half the iterations of twice the batch 0.881, in the
same time with features 24 to 192 0.880 and with patches of 32 x 48 x 32 0.884.
No mirroring: in so few iterations mirrored anatomy costs more than it teaches (hippocampi, fold 0, 2000 iterations:
Dice 0.878 with it along all axes, 0.885 along x; 0.886 without, after 1000 as after 3400), and prediction is
several times faster. Patches are rotated and scaled more often instead, since thousands of iterations on a small
dataset otherwise learn its cases by heart.
"""

from autoseg.configuration import TrainingRules
from autoseg.parts.augmentations import standard
from autoseg.parts.optimizers import muon
from autoseg.parts.schedules import polynomial
from autoseg.planning.patch import StepBudget
from autoseg.planning.planner import Planner
from autoseg.planning.sizes import UNetSizes

PLANNER = Planner(
    name="cpu",
    description="a small U-Net that trains on a few processor cores in less than an hour",
    unet_2d=UNetSizes(base_features=16, largest_features=256),
    unet_3d=UNetSizes(base_features=16, largest_features=128),
    budget_2d=StepBudget(elements=3.3e6, batch=12, largest_batch=32),
    budget_3d=StepBudget(elements=20e6, batch=2, largest_batch=2),
    augmentation=standard.Spec(rotation_probability=0.5, scaling_probability=0.5),
    mirror=False,
    slices=3,
    dice_by_labels=True,
    training=TrainingRules(epochs=25, iterations_per_epoch=100, oversampling=0.33),
    optimizer=muon.Spec(),
    schedule=polynomial.Spec(power=0.9, warmup_iterations=50),
)

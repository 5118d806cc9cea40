"""The switches of modular_unet: their values, which do not go together, and what they hold in prediction. No torch.

``_blocks``, ``_attention``, ``_context`` and ``_norms`` hold a table each, of these names and what they stand for.
"""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING

from ...core.names import short
from ._stages import refuse_too_many

if TYPE_CHECKING:
    from .modular_unet import Spec

SWITCHES = {
    "block": ("plain", "residual", "dense", "inception", "separable", "recurrent_residual", "deformable"),
    "encoder": ("unet", "vgg", "resnet", "densenet"),
    "attention": ("none", "spatial", "channel", "mixed", "non_local"),
    "context": ("none", "aspp", "hybrid_dilated", "pyramid_pooling", "residual_multi_kernel_pooling"),
    "norm": ("instance", "group", "batch"),
    "activation": ("leaky_relu", "relu", "elu", "gelu", "silu"),
}
"""The first of each makes the plain U-Net."""
ENCODERS = {"vgg": ("plain", (2, 2, 3, 3, 3)), "resnet": ("residual", (1, 3, 4, 6, 3)),
            "densenet": ("dense", (2, 3, 4, 12, 8))}  # fmt: skip
"""Kind of block and numbers, the finest stage first; the last holds for all further stages. VGG-16 (Simonyan and
Zisserman 2015); ResNet-34 (He et al. 2016), whose stem is the finest stage; the 3-D DenseNet of H-DenseUNet (Li et al.
2018), likewise."""
PATHS = 4  # feature maps that inception blocks need at least: its three paths get a quarter, a half and a quarter
KEYS = {2: 16, 3: 8}  # non_local: by dimensions, bins per axis at most whose means every voxel looks at
NON_LOCAL_STAGES = 2  # the coarsest ones, and never the finest
PLAIN = 5  # times the finest feature maps is the most that a plain U-Net holds
CONTEXT = 11  # times those of the coarsest stage is the most that a context holds: aspp, five paths and these joined


def check(spec: Spec) -> None:
    """Raises ValueError for a value that there is not, and for switches that do not go together."""
    for name, values in SWITCHES.items():
        if (found := getattr(spec, name)) not in values:
            raise ValueError(f"{name} must be one of {', '.join(values)}, found {short(found)!r}")
    fewest = min(spec.features[:-1] if spec.block_down != "inception" else spec.features)
    if "inception" in (spec.block, spec.block_down) and fewest < PATHS:
        raise ValueError(f"block inception needs {PATHS} feature maps in every stage that has it, found {fewest}")
    refuse_too_many(weights(spec), "features, kernels and blocks")


def block_down(spec: Spec) -> str:
    """See ``modular_unet.Spec``."""
    return ENCODERS.get(spec.encoder, (spec.block,))[0]


def growth(outputs: int) -> int:
    """Feature maps of each layer of a dense stage: half of the stage's, as 32 of 64 in DenseNet-121."""
    return ceil(outputs / 2)


def non_local_stages(stages: int) -> range:
    """Those in which voxels look at each other."""
    return range(max(1, stages - NON_LOCAL_STAGES), stages)


def held_beside(spec: Spec) -> int:
    """Finest feature maps at the most crowded moment of prediction, beyond those of a plain U-Net at its own.

    Layers of dense stages hold all maps before them and the same with the new ones; recurrent ones what they gave,
    what they see and what was projected. Coarser stages count by their voxels, and with what waits for the way up.
    """
    share, waiting, most = 1.0, 0.0, PLAIN * float(spec.features[0])
    coarsest, before = len(spec.features) - 1, spec.features[0]
    for level, (outputs, stride) in enumerate(zip(spec.features, spec.strides)):
        share /= prod(stride)
        entries = spec.dimensions * prod(spec.kernels[level])
        held = _of_stage(spec.block_down, before, outputs, spec.blocks_encoder[level], entries)
        if level < coarsest:
            held = max(held, _of_stage(spec.block, 2 * outputs, outputs, spec.blocks_decoder[level], entries))
        elif spec.context != "none":
            held = max(held, CONTEXT * outputs)
        if spec.attention == "non_local" and level in non_local_stages(len(spec.features)):
            held = max(held, 4 * outputs + 2 * KEYS[spec.dimensions] ** spec.dimensions)
        most = max(most, waiting + share * held)
        waiting += share * outputs
        before = outputs
    return ceil(most) - PLAIN * spec.features[0]


def _of_stage(kind: str, inputs: int, outputs: int, blocks: int, entries: int) -> int:
    """Feature maps of its own resolution that a stage holds at a time, with those that it was given. ``entries`` of a
    kernel, along all axes, have an offset each."""
    if kind == "dense":
        return 3 * inputs + 2 * blocks * growth(outputs)
    if kind == "deformable":
        return inputs + 5 * outputs + (3 * entries if blocks > 1 else 0)
    return inputs + 7 * outputs if kind == "recurrent_residual" else inputs + 3 * outputs


def weights(spec: Spec) -> int:
    """At most, roughly, of all convolutions of the stages and of the context."""
    sizes, total = [prod(kernel) for kernel in spec.kernels], 0
    down = zip((spec.features[0], *spec.features), spec.features, sizes, spec.blocks_encoder)
    up = zip((2 * count for count in spec.features), spec.features, sizes, spec.blocks_decoder)
    for kind, stages in ((spec.block_down, down), (spec.block, up)):
        for inputs, outputs, size, blocks in stages:
            if kind == "dense":
                new = growth(outputs)
                total += sum((inputs + layer * new) * new * size for layer in range(blocks))
                total += (inputs + blocks * new) * outputs
            else:
                total += (2 * blocks + 1) * max(inputs, outputs) * outputs * size
                total += blocks * outputs * spec.dimensions * size * size if kind == "deformable" else 0
    return total + (6 * spec.features[-1] ** 2 * sizes[-1] if spec.context != "none" else 0)

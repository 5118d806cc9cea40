"""What a part of each family promises: one Protocol per family (of classical methods: ``baseline_contract``). Nothing
else is asked of a part.

A part is a file of its family's folder that defines ``Spec``, a frozen dataclass whose fields are its settings; a
reader is the file itself. Arrays are (channels, z, y, x), vectors (z, y, x), lengths mm, unless said otherwise.

A part may leave out what the defaults of ``autoseg.configuration`` name: it then gets these when it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn, optim

    from ..core.extent import Extent
    from ..core.geometry import Box, Geometry
    from ..core.inputs import CaseInPrediction, CaseInTraining, InputGroup, InputSpec, Move
    from ..core.labels import Labels
    from ..core.samples import BuiltObjective, Supervision


class Part(Protocol):
    """A dataclass: its fields are read from and written to ``plan.json``."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


@runtime_checkable
class Filter(Part, Protocol):
    """Changes a channel before it is normalised; what ``parts.filters`` calls an estimate is kept in the workspace."""

    def apply(self, channel: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """``channel`` (z, y, x) float32 of ``spacing`` mm, as it lies in its file; uses one thread."""


@runtime_checkable
class Normalizer(Part, Protocol):
    """Brings the intensities of one channel to a common scale."""

    def apply(self, channel: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """``channel`` (z, y, x) in float32; ``mask``, of the same shape, is where statistics are taken from."""

    @property
    def mask(self) -> bool:
        """Whether ``apply`` is to be given the mask of nonzero voxels, outside of which the channel then stays 0."""


@runtime_checkable
class Resampler(Part, Protocol):
    """Brings voxels from one grid to another. Spacings are mm along (z, y, x)."""

    def resample_image(
        self, array: np.ndarray, shape: tuple[int, int, int], spacing: Sequence[float], new_spacing: Sequence[float]
    ) -> np.ndarray:
        """``array`` (channels, z, y, x) float32 at ``shape``."""

    def resample_labels(
        self, indices: np.ndarray, shape: tuple[int, int, int], spacing: Sequence[float], new_spacing: Sequence[float]
    ) -> np.ndarray:
        """Label indices (z, y, x) at ``shape``."""

    def resample_logits(
        self, array: np.ndarray, shape: tuple[int, int, int], spacing: Sequence[float], new_spacing: Sequence[float]
    ) -> np.ndarray:
        """Logits (heads, z, y, x) float32 at ``shape``, all at once; ``matrices`` does the same in parts."""

    @property
    def order_logits(self) -> int:
        """Spline order for logits: above 1 they leave the range of the input and have to be clipped."""

    def separate_axis(self, spacing: Sequence[float], new_spacing: Sequence[float]) -> int | None:
        """The axis that is resampled on its own, or None."""

    def matrices(
        self, shape_in: Sequence[int], shape_out: Sequence[int], order: int, separate_axis: int | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One float32 matrix (out, in) per axis (z, y, x), whose product with the array is the resampled array."""


@runtime_checkable
class Network(Part, Protocol):
    """Sizes of a network; ``build`` makes it.

    What is built may have ``maps(images)``, its finest feature maps (B, features, *patch), and ``last``, the
    convolution of single voxels that makes the finest logits of them: prediction then applies it last of all. Without
    them, prediction averages logits. It may have ``alternatives``, lists of weights, of which a batch may use none of
    one list: where the gradient of all of a list is exactly 0, neither weight decay nor momentum moves them.
    """

    @property
    def divisor(self) -> tuple[int, ...]:
        """A patch must be a multiple of this along each of its axes."""

    @property
    def blocks(self) -> int:
        """No fewer tensors of weights than this: a file with fewer is refused before the network is built."""

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[int]) -> Sequence[Network]:
        """The network in sizes from small to large, for patches of about so many voxels of ``spacing`` mm.

        Both have two entries for a 2-D network and three for a 3-D one, along (z, y, x). The planner makes the patch a
        multiple of ``divisor``, which may differ between patches. There are always as many sizes; none: the network
        cannot be planned. Raises ValueError, with the reason, where there is no network for such a patch.
        """

    @property
    def features(self) -> tuple[int, ...]:
        """Feature maps of each stage, finest first: what prediction counts the memory of a patch by."""

    @property
    def held_beside(self) -> int:
        """Finest feature maps that prediction holds at a time beyond those of a U-Net of ``features``."""

    def with_fields(self, **fields: Any) -> Network:
        """This network with values that the user has chosen, and what follows from them. May be left out: just these.

        Raises ValueError, with the reason, for what cannot be.
        """

    def check_inputs(self, inputs: InputSpec) -> None:
        """Raises ValueError, with the reason, where the network cannot take these. May be left out: it takes any."""

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: (B, inputs.seen, *patch) to a list of logits (B, heads, ...), finest first.

        Its channels are those of the groups of ``inputs``, one group after the other.
        """


@runtime_checkable
class Input(Part, Protocol):
    """A further input of the network, beside the image. Arrays are on the network's grid; 2-D patches have no z."""

    @property
    def previous(self) -> str | None:
        """The configuration that is trained and predicts before, as its prediction is needed; None: there is none."""

    def group(self, channels: Sequence[str], labels: Labels) -> InputGroup:
        """What the network gets of it, where images have these channels."""

    def read(self, case: CaseInTraining, box: Box) -> np.ndarray | None:
        """(group.read, *box) of a case in training, always the same. None: absent, if the group is optional."""

    def draw(self, generator: np.random.Generator, *, batch: int, group: InputGroup) -> Sequence[Any]:
        """All that is random about a batch, beside what the augmentation draws: an entry for each patch."""

    def apply(self, arrays: Sequence[Tensor], targets: Tensor, drawn: Sequence[Any], move: Move) -> Tensor:
        """Patches as they were read, each (group.read, *loaded), to (B, group.read, *patch), without randomness.

        ``targets`` are the label indices (B, *patch) to be learned, already moved; ``move.absent`` says which channels
        of the image each patch lacks.
        """

    def make(self, case: CaseInPrediction) -> np.ndarray | None:
        """(group.read, z, y, x) of a case to be predicted. None: absent, if the group is optional."""

    def encode(self, arrays: Tensor, group: InputGroup) -> Tensor:
        """(B, group.read, *patch) float32 to (B, group.seen, *patch): what the network sees."""


@runtime_checkable
class Loss(Part, Protocol):
    """What training makes small."""

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``.

        One that also has ``measure(logits, target, spacing, progress)``, tensors of which each patch makes its own
        rows, and ``judge(measures)``, the loss of the batch that they are of, needs no logits of a whole batch in one
        place. It knows the mm between voxels along the axes of the patch, and the training's progress from 0 to 1.
        """


@runtime_checkable
class Objective(Part, Protocol):
    """What a training step makes small, and what it learns from."""

    @property
    def streams(self) -> tuple[str, ...]:
        """The kinds of samples that it learns from, of ``core.samples.STREAMS``."""

    def build(self, supervision: Supervision, labels: Labels, network: nn.Module, inputs: InputSpec) -> BuiltObjective:
        """For the ``network`` that is trained, which lies on its device with its first weights and sees ``inputs``.

        ``supervision`` is the configuration's loss. The optimizer updates the weights of ``network`` only.
        """


@runtime_checkable
class Augmentation(Part, Protocol):
    """Random changes of a batch: draw first (pure data), then read, then apply (no randomness)."""

    @property
    def masked_channels(self) -> tuple[int, ...]:
        """Channels, counted from 0, whose voxels of exactly 0 stay 0."""

    def loaded_shape(self, patch_size: tuple[int, ...]) -> tuple[int, ...]:
        """The most that is read of a patch, in voxels."""

    def needed_shape(self, params: Any, patch: int, patch_size: tuple[int, ...]) -> tuple[int, ...]:
        """What is read of patch number ``patch`` of the batch for which ``params`` were drawn."""

    def draw(
        self,
        generator: np.random.Generator,
        *,
        batch: int,
        channels: int,
        mirror_axes: Sequence[int],
        dimensions: int,
    ) -> Any:
        """Everything random about one batch; None, or something with ``of_patches(start, stop)``."""

    def apply(
        self, images: Sequence[Tensor], targets: Sequence[Tensor], params: Any, patch_size: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Patches as they were read to float32 (B, channels, *patch) and label indices (B, *patch)."""

    def move_images(self, images: Sequence[Tensor], params: Any, patch_size: tuple[int, ...]) -> Tensor:
        """Further arrays, each (channels, *loaded), to float32 (B, channels, *patch): moved as ``apply`` moves images,
        their values otherwise as they are."""

    def move_labels(self, labels: Sequence[Tensor], params: Any, patch_size: tuple[int, ...]) -> Tensor:
        """Further label indices, each (maps, *loaded), to (B, maps, *patch): moved as ``apply`` moves targets."""


@runtime_checkable
class Optimizer(Part, Protocol):
    """How weights follow their gradients."""

    @property
    def learning_rate(self) -> float:
        """At the start of the training; a schedule multiplies it."""

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        """The optimizer of these weights."""


@runtime_checkable
class Schedule(Part, Protocol):
    """How the learning rate changes during a training."""

    def factor(self, progress: float, iteration: int) -> float:
        """What the learning rate is multiplied by; ``progress`` runs from 0 to 1 over the training."""


@runtime_checkable
class Metric(Part, Protocol):
    """Scores of one label of one case."""

    @property
    def of_probabilities(self) -> bool:
        """Whether ``prediction`` is the label's probability, uint16 in parts of 65535, at every annotated voxel of the
        image, and ``reference`` says of these whether they belong to the label; both (voxels,). May be left out: it is
        a mask, as the reference."""

    def score(
        self, reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], image: Extent | None = None
    ) -> dict[str, float]:
        """Name to value, always the same names, of two bool masks (z, y, x), or (y, x), with ``spacing`` in mm.

        The masks are the box around the label in an ``image`` of this size; None: they are all of it. NaN is no number,
        and infinity stands for the image's diagonal.
        """


@runtime_checkable
class Postprocessor(Part, Protocol):
    """A correction of one decided label. Voxels that share a face, an edge or a corner belong together."""

    @classmethod
    def candidates(cls) -> Sequence[Any]:
        """The settings that ``autoseg select`` tries, mildest first."""

    @property
    def whole_foreground(self) -> bool:
        """Whether the correction also makes sense on all labels taken together."""

    def apply(self, mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """A bool mask (z, y, x), or (y, x) of a 2-D image, to another; the one that was given stays as it is."""


@runtime_checkable
class Reader(Protocol):
    """Image files of some kinds, in and out. Only ImageFileError and DatasetError leave ``parts.readers``."""

    def read_header(self, path: Path) -> Any:
        """Grid and channels, without the voxels."""

    def read(self, path: Path) -> tuple[np.ndarray, Geometry]:
        """Voxels (channels, z, y, x) as they are stored, and their grid."""

    def write(self, array: np.ndarray, geometry: Geometry, path: Path) -> None:
        """Channels on their grid."""

"""Images of other libraries, in and out: whatever kind of object comes in, the label map goes back as that kind.

Of masks that may overlap go back all, as channels: (masks, z, y, x) of an array, the components of each voxel of a
SimpleITK image, the fourth axis of nibabel's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..alignment.record import Alignment
from ..alignment.reference import Reference
from ..core.channels import ChannelSource
from ..core.geometry import Geometry, Image
from ..core.limits import refuse_larger
from ..core.names import short
from ..data.dataset import Case, ImageSource
from ..data.images import read_case
from ..errors import DatasetError, ModelError
from ..parts.readers import read_image, unlike
from ..parts.readers._grid import in_lps
from .prediction import Prediction

GiveBack = Callable[[Prediction], Any]


def opened(
    source: Any,
    spacing: Sequence[float] | None = None,
    affine: np.ndarray | None = None,
    sources: Sequence[ChannelSource] = (),
    alignment: Alignment | None = None,
) -> tuple[Image, GiveBack]:
    """The image in ``source`` and a function that turns its prediction into the same kind of object.

    Paths and an ``Image`` get the ``Prediction`` itself. ``spacing`` (z, y, x) in mm or ``affine`` belongs to arrays
    only. A list is one image per channel, None for one that is missing. Of files, ``sources`` say which volume of which
    each channel is, and None is a missing file; empty: they hold all channels in order. Channels are brought onto one
    grid as ``alignment`` says, which is that of the label map. Raises ModelError for anything else, and where they
    cannot be.
    """
    several = isinstance(source, list | tuple)
    parts = list(source) if several else [source]
    of_files = bool(parts) and all(isinstance(part, str | Path) or (several and part is None) for part in parts)
    chosen = of_files and bool(sources)
    if several and not chosen and any(part is None or isinstance(part, np.ndarray) for part in parts):
        return _by_channel(parts, spacing, affine, alignment)
    if isinstance(source, np.ndarray):
        array = _stacked([_from_array(source, spacing, affine)], alignment)
        return array, lambda prediction: prediction.array
    if spacing is not None or affine is not None:
        raise ModelError("spacing and affine are for arrays; every other kind of image carries its own")
    if isinstance(source, Image):
        return _stacked([source], alignment), lambda prediction: prediction
    if chosen:
        return _chosen(parts, sources, alignment), lambda prediction: prediction
    if of_files:
        paths = [Path(path) for path in parts]
        files = [[path] for path in paths] if alignment else [paths]
        return _stacked(list(map(read_image, files)), alignment), lambda prediction: prediction
    libraries = {type(part).__module__.partition(".")[0] for part in parts}
    if libraries == {"SimpleITK"}:
        images = list(map(_from_simpleitk, parts))
        first = parts[_reference(images, alignment)[0]]
        return _stacked(images, alignment), lambda prediction: _to_simpleitk(prediction, first)
    if libraries == {"nibabel"}:  # who hands us its image has imported it; autoseg itself never needs it
        images = list(map(_from_nibabel, parts))
        first = parts[_reference(images, alignment)[0]]
        return _stacked(images, alignment), lambda prediction: _to_nibabel(prediction, first)
    raise ModelError(
        f"cannot predict on {type(source).__name__}; "
        "give a path, a SimpleITK or nibabel image (or a list of these, one per channel), or an array (z, y, x) with "
        "spacing or affine"
    )


def _by_channel(
    parts: Sequence[Any], spacing: Sequence[float] | None, affine: np.ndarray | None, alignment: Alignment | None
) -> tuple[Image, GiveBack]:
    """``opened``, of images or arrays that hold one channel each, and None for a channel that is missing."""
    there = {number: part for number, part in enumerate(parts) if part is not None}
    if not there:
        raise ModelError("every channel is None: an image needs at least one")
    arrays = [part for part in there.values() if isinstance(part, np.ndarray)]
    if arrays and (len(arrays) < len(there) or len({array.shape for array in arrays}) > 1 or arrays[0].ndim != 3):
        found = ", ".join(str(getattr(part, "shape", type(part).__name__)) for part in there.values())
        raise ModelError(f"arrays in a list must be (z, y, x), one per channel and all alike; found {short(found)}")
    if alignment is not None:  # the first one stands in for a reference that is missing
        place = [*there].index(alignment.reference) if alignment.reference in there else 0
        alignment = replace(alignment, reference=place)
    image, give_back = opened(np.stack(arrays) if arrays else [*there.values()], spacing, affine, alignment=alignment)
    if len(image.array) != len(there):
        raise ModelError(
            f"where a channel is None, each other image must be one channel; found {len(image.array)} channels in "
            f"{len(there)} images"
        )
    whole = np.zeros((len(parts), *image.geometry.shape), np.float32)
    whole[[*there]] = image.array
    absent = tuple(number for number in range(len(parts)) if number not in there)
    return Image(whole, image.geometry, absent), give_back


def _chosen(paths: Sequence[str | Path | None], sources: Sequence[ChannelSource], alignment: Alignment | None) -> Image:
    """Of files in the order of their numbers, None for one that is missing. Raises ModelError where that is not said of
    one of which a channel is taken, and where there is none of these."""
    needed = max(source.file for source in sources) + 1
    if len(paths) < needed:
        raise ModelError(
            f"the model takes channels from files 0 to {needed - 1}, found {len(paths)} files; give all, None for one "
            "that is missing"
        )
    images = tuple(
        None if (path := paths[each.file]) is None else ImageSource(str(path), each.volume) for each in sources
    )
    if not any(images):
        raise ModelError("none of the files is there that the model takes channels from: an image needs at least one")
    return read_case(Case("image", images), alignment)


def _reference(images: Sequence[Image], alignment: Alignment | None) -> tuple[int, int]:
    """The image that holds the channel on whose grid the others come, and the place of the channel in it."""
    holding = [(number, place) for number, image in enumerate(images) for place in range(len(image.array))]
    there = {
        channel: each for channel, each in enumerate(holding) if each[1] not in images[each[0]].absent
    }  # an Image of ours says itself what it lacks
    return there.get(0 if alignment is None else alignment.reference, next(iter(there.values()), (0, 0)))


def _stacked(images: Sequence[Image], alignment: Alignment | None) -> Image:
    """The channels of all images on one grid. Raises ModelError where they do not lie on one, or cannot be aligned."""
    if alignment is not None and (len(images) > 1 or alignment.registers):
        return _aligned(images, alignment)
    first, *others = images
    for number, other in enumerate(others, 1):
        if wrong := unlike(first.geometry, other.geometry):
            raise ModelError(
                f"image {number} lies on another grid than image 0 ({'; '.join(wrong)}); resample it to that grid: "
                f"SimpleITK.Resample(image_{number}, image_0)"
            )
    return first if not others else Image(np.concatenate([image.array for image in images]), first.geometry)


def _aligned(images: Sequence[Image], alignment: Alignment) -> Image:
    number, place = _reference(images, alignment)
    first = images[number]
    reference, arrays = Reference(first.array[place], first.geometry, alignment), []
    for index, image in enumerate(images):
        for inner, channel in enumerate(image.array):
            stays = (index, inner) == (number, place) or inner in image.absent
            try:
                arrays.append(channel if stays else reference.aligned(channel, image.geometry)[0])
            except DatasetError as error:
                raise ModelError(f"channel {len(arrays)}: {error}") from None
    return Image(np.stack(arrays), first.geometry, images[0].absent if len(images) == 1 else ())


def _from_array(array: np.ndarray, spacing: Sequence[float] | None, affine: np.ndarray | None) -> Image:
    _refuse_unreal(array.dtype)
    if array.ndim not in (3, 4):
        raise ModelError(f"an array must be (z, y, x) or (channels, z, y, x), found {array.ndim} axes")
    refuse_larger(4 * array.size, "the image", error=ModelError)  # a view may be larger than what it shows
    with _worded():
        if affine is not None:
            if spacing is not None or np.shape(affine) != (4, 4):
                raise ModelError(f"give spacing=(z, y, x), or affine with 4 x 4 numbers, found {np.shape(affine)}")
            z, y, x = array.shape[-3:]
            return Image(array.reshape(-1, z, y, x).astype(np.float32), _placed((z, y, x), affine))
        lengths = np.asarray([] if spacing is None else spacing, float)
        if lengths.shape != (3,) or not (lengths > 0).all():
            raise ModelError(f"an array needs spacing=(z, y, x) in millimetres or an affine, found {short(spacing)}")
        z, y, x = array.shape[-3:]
        geometry = Geometry.plain((z, y, x), (float(lengths[0]), float(lengths[1]), float(lengths[2])))
        return Image(array.reshape(-1, z, y, x).astype(np.float32), geometry)


@contextmanager
def _worded() -> Iterator[None]:
    """What a geometry refuses becomes a ModelError."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ModelError(f"cannot predict on this image: {error}") from None


def _refuse_unreal(dtype: np.dtype) -> None:
    if dtype.kind not in "biuf":
        raise ModelError(f"an image must hold real numbers, found {dtype}")


def _from_simpleitk(source: Any) -> Image:
    import SimpleITK

    grid = _grid(source)
    array = SimpleITK.GetArrayFromImage(source)
    _refuse_unreal(array.dtype)
    array = array.astype(np.float32)
    if source.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)  # the components of a voxel are channels
    with _worded():
        if grid.GetDimension() == 2:
            x, y = grid.GetSpacing()
            geometry = Geometry.plain_2d(array.shape[-2:], (y, x))
        else:
            x, y, z = grid.GetSpacing()
            geometry = Geometry(array.shape[-3:], (z, y, x), grid.GetOrigin(), grid.GetDirection())
    return Image(np.ascontiguousarray(array.reshape(-1, *geometry.shape)), geometry)


def _to_simpleitk(prediction: Prediction, source: Any) -> Any:
    import SimpleITK

    grid = _grid(source)
    array = prediction.array if grid.GetDimension() == 3 else prediction.array[..., 0, :, :]
    components = array.ndim > grid.GetDimension()
    labels = SimpleITK.GetImageFromArray(np.moveaxis(array, 0, -1) if components else array, isVector=components)
    labels.CopyInformation(grid)
    return labels


def _grid(source: Any) -> Any:
    """The image that has the grid of the label map: the image itself, or its first channel where it has four axes."""
    if source.GetDimension() not in (2, 3, 4):
        raise ModelError(
            f"a SimpleITK image must have 2 or 3 axes, or 4 with channels last; found {source.GetDimension()}"
        )
    return source[:, :, :, 0] if source.GetDimension() == 4 else source


def _from_nibabel(source: Any) -> Image:
    """nibabel's arrays are (x, y, z[, channels]); the affine gives the spacing."""
    _refuse_unreal(source.dataobj.dtype)
    refuse_larger(4 * prod(source.shape), "the image", error=ModelError)
    array = np.asarray(source.dataobj, dtype=np.float32)
    if array.ndim not in (3, 4):
        raise ModelError(f"a nibabel image must have 3 axes, or 4 with channels last, found {array.ndim}")
    if source.affine is None:
        raise ModelError("a nibabel image needs an affine")
    array = array.T.reshape(-1, *array.shape[2::-1])
    with _worded():
        return Image(np.ascontiguousarray(array), _placed(array.shape[1:], source.affine))


def _placed(shape: tuple[int, int, int], affine: np.ndarray) -> Geometry:
    """Where an array (z, y, x) lies by nibabel's ``affine`` from voxel (x, y, z) to mm, which points right, front, up.

    Raises ValueError for what spans no space.
    """
    matrix = np.asarray(affine, float)
    if not np.isfinite(matrix).all():
        raise ValueError("the affine holds NaN or infinity")
    x, y, z = lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if not (lengths > 0).all():
        raise ValueError(f"voxels need a size along each axis, found {z:g}, {y:g}, {x:g} mm by the affine")
    origin, direction = in_lps(matrix[:3, :3] / lengths, matrix[:3, 3], "the image")
    return Geometry(shape, (float(z), float(y), float(x)), origin, direction)


def _to_nibabel(prediction: Prediction, source: Any) -> Any:
    """With both transforms, their codes and the units of the image."""
    labels = np.ascontiguousarray(np.moveaxis(prediction.array, (-3, -2, -1), (2, 1, 0)))
    if not hasattr(source.header, "get_sform"):  # another format than NIfTI
        return type(source)(labels, source.affine)
    header = source.header.copy()
    header.set_data_dtype(labels.dtype)
    header["cal_min"] = header["cal_max"] = 0  # how bright the image is to be shown
    return type(source)(labels, source.affine, header)

"""Samples in parts are the samples; every group of channels is where the network sees it."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.inputs import InputGroup, InputSpec
from autoseg.core.samples import Samples


def samples(patches: int, groups: tuple[InputGroup, ...]) -> Samples:
    spec = InputSpec(groups)
    seen = torch.arange(patches * spec.read * 4.0).reshape(patches, spec.read, 2, 2)
    targets = torch.arange(patches * 4).reshape(patches, 2, 2)
    return Samples(seen, targets, tuple(map(str, range(patches))), (1.0, 2.0), spec)


@given(st.integers(1, 9), st.data())
def test_parts_hold_every_patch_once_and_differ_by_one_at_most(patches: int, data: st.DataObject) -> None:
    whole = samples(patches, (InputGroup("image", "image", 1),))
    parts = whole.split(data.draw(st.integers(1, patches)))
    assert torch.equal(torch.cat([part.network_input for part in parts]), whole.network_input)
    assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)
    assert sum((part.keys for part in parts), ()) == whole.keys
    lengths = [len(part.keys) for part in parts]
    assert lengths == [len(part.targets) for part in parts] and max(lengths) - min(lengths) <= 1
    assert all((part.spacing, part.inputs) == (whole.spacing, whole.inputs) for part in parts)


def test_image_and_extras_are_the_channels_that_the_network_sees() -> None:
    groups = (
        InputGroup("image", "image", 2, slices=3),
        InputGroup("prior", "labels", 5),
        InputGroup("sign", "image", 2),
    )
    found = samples(3, groups)
    assert found.image.shape[1] == 6
    assert {name: extra.shape[1] for name, extra in found.extras.items()} == {"prior": 1, "sign": 2}
    assert torch.equal(torch.cat((found.image, *found.extras.values()), 1), found.network_input)
    assert samples(1, groups[:1]).extras == {}

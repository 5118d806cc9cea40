"""Weights that a training begins with: fitted by the names of channels and labels, slowed down or frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from autoseg.configuration import InitialWeights
from autoseg.core.labels import ExclusiveLabels
from autoseg.errors import UsageError
from autoseg.parts.inputs import presence
from autoseg.parts.networks import residual_unet
from autoseg.parts.normalizers import none as untouched
from autoseg.parts.optimizers import adamw, muon, sgd
from autoseg.plan import Plan
from autoseg.settings import RunSettings
from autoseg.task import Task
from autoseg.training.initial import Donor, entries_of, fitted, slow_encoder
from autoseg.training.state import start

SETTINGS = RunSettings(device="cpu", threads=1)


def task(plan: Plan, channels: tuple[str, ...], labels: tuple[str, ...], **changes: Any) -> Task:
    configuration = replace(
        plan.configurations["3d_fullres"], normalizers=(untouched.Spec(),) * len(channels), **changes
    )
    values = ExclusiveLabels({"background": 0, **{name: number for number, name in enumerate(labels, 1)}})
    changed = replace(plan, channels=channels, labels=values, configurations={"3d_fullres": configuration})
    return changed.task()


def donor_of(of: Task, named: bool = True) -> tuple[Donor, nn.Module]:
    torch.manual_seed(1)
    network = of.network()
    weights = {name.removeprefix("network."): weight.clone() for name, weight in network.state_dict().items()}
    known = (entries_of(of), of.labels.head_names) if named else (None, ())
    return Donor("other", "0" * 64, weights, *known), network


def first_kernel(network: nn.Module) -> tuple[str, torch.Tensor]:
    return next((name, weight) for name, weight in network.state_dict().items() if weight.dim() == 5)


def test_channels_and_labels_are_matched_by_name(small_plan: Plan) -> None:
    donor, theirs = donor_of(task(small_plan, ("T1", "FLAIR", "T2"), ("edema", "core")))
    mine = task(small_plan, ("FLAIR", "PET", "T1"), ("core", "cyst", "edema"))
    network = mine.network()
    fresh = {name: weight.clone() for name, weight in network.state_dict().items()}
    found = fitted(mine, network, donor)
    name, kernel = first_kernel(theirs)
    got = found.weights[name]
    torch.testing.assert_close(got[:, 0], kernel[:, 1])  # FLAIR
    torch.testing.assert_close(got[:, 1], (kernel[:, 0] + kernel[:, 1] + kernel[:, 2]) / 3)  # unknown there: the mean
    torch.testing.assert_close(got[:, 2], kernel[:, 0])  # T1
    heads = [key for key in fresh if fresh[key].shape[0] == 4 and theirs.state_dict()[key].shape[0] == 3]
    assert heads
    for key in heads:
        given, taken = theirs.state_dict()[key], found.weights[key]
        for place, other in ((0, 0), (1, 2), (3, 1)):  # background, core, edema
            torch.testing.assert_close(taken[place], given[other])
        torch.testing.assert_close(taken[2], fresh[key][2])  # a cyst is new
    assert not found.fresh and 0.9 < found.share < 1


def test_the_order_of_equally_many_channels_does_not_matter(small_plan: Plan) -> None:
    """Shapes are the same: only names tell that something has to be exchanged."""
    donor, theirs = donor_of(task(small_plan, ("T1", "T2"), ("a", "b")))
    mine = task(small_plan, ("T2", "T1"), ("b", "a"))
    network = mine.network()
    network.load_state_dict(fitted(mine, network, donor).weights)
    image = torch.randn(1, 2, 8, 8, 8)
    network.eval(), theirs.eval()
    with torch.no_grad():
        mine_says, theirs_say = network(image.flip(1)), theirs(image)
    mine_says, theirs_say = (one[0] if isinstance(one, list | tuple) else one for one in (mine_says, theirs_say))
    torch.testing.assert_close(mine_says[:, [0, 2, 1]], theirs_say)


def test_an_encoder_of_one_channel_without_names_serves_every_channel(small_plan: Plan) -> None:
    donor, theirs = donor_of(task(small_plan, ("anything",), ("organ",)), named=False)
    encoder = {name: weight for name, weight in donor.weights.items() if "encoder" in name.split(".")}
    mine = task(small_plan, ("T1", "T2"), ("organ",))
    found = fitted(mine, mine.network(), replace(donor, weights=encoder))
    name, kernel = first_kernel(theirs)
    torch.testing.assert_close(found.weights[name], kernel.expand(-1, 2, -1, -1, -1))
    assert {*found.weights} == {*encoder} and all("encoder" not in key.split(".") for key in found.fresh)


def test_labels_without_names_are_not_taken(small_plan: Plan) -> None:
    donor, _ = donor_of(task(small_plan, ("MR",), ("organ",)), named=False)
    mine = task(small_plan, ("MR",), ("organ",))
    network = mine.network()
    found = fitted(mine, network, donor)
    heads = {name for name, weight in network.state_dict().items() if weight.shape[0] == 2}
    assert heads and heads <= {*found.fresh}


def test_a_further_input_begins_at_random(small_plan: Plan) -> None:
    donor, theirs = donor_of(task(small_plan, ("T1", "T2"), ("organ",)))
    mine = task(small_plan, ("T1", "T2"), ("organ",), inputs=(presence.Spec(),))
    network = mine.network()
    begun = {name: weight.clone() for name, weight in network.state_dict().items()}
    found = fitted(mine, network, donor)
    (name, kernel), (_, given) = first_kernel(network), first_kernel(theirs)
    torch.testing.assert_close(found.weights[name][:, :2], given)
    torch.testing.assert_close(found.weights[name][:, 2:], begun[name][:, 2:])
    assert kernel.shape[1] == 4


def test_another_network_is_refused_by_what_does_not_fit(small_plan: Plan) -> None:
    wide = replace(small_plan.configurations["3d_fullres"].network, features=(6, 12))
    donor, _ = donor_of(task(small_plan, ("MR",), ("organ",), network=wide))
    mine = task(small_plan, ("MR",), ("organ",))
    with pytest.raises(UsageError, match=r"only \d+ % of the weights .* shape \(6, .* there and \(4, .*--from MODEL"):
        fitted(mine, mine.network(), donor)


def test_a_training_starts_with_what_fits_and_with_the_same_random_rest(small_plan: Plan) -> None:
    donor, _ = donor_of(task(small_plan, ("MR",), ("organ",)))
    mine = task(small_plan, ("MR",), ("cyst",))
    plain, begun = start(mine, SETTINGS).network.state_dict(), start(mine, SETTINGS, donor).network.state_dict()
    assert any(not torch.equal(plain[name], begun[name]) for name in plain)
    heads = [name for name in plain if plain[name].shape[0] == 2]
    assert heads and all(torch.equal(plain[name][1], begun[name][1]) for name in heads)
    assert all(torch.equal(donor.weights[name][0], begun[name][0]) for name in heads)


@pytest.mark.parametrize(
    "optimizer", [sgd.Spec(learning_rate=0.1), adamw.Spec(), muon.Spec()], ids=["sgd", "adamw", "muon"]
)
@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_an_encoder_learns_at_its_share_of_the_rate(small_plan: Plan, optimizer: Any, rate: float) -> None:
    """The same as with an optimizer of its own whose learning rate is that share."""
    mine = task(small_plan, ("MR",), ("organ",), optimizer=optimizer)

    def moved(build: Callable[[nn.Module], list[torch.optim.Optimizer]]) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        network = mine.network()
        before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
        optimizers = build(network)
        for each in optimizers:
            each.zero_grad()
        torch.manual_seed(2)
        outputs = network(torch.randn(1, 1, 8, 8, 8))
        sum(output.square().mean() for output in outputs).backward()
        for each in optimizers:
            each.step()
        return {name: weight.detach() - before[name] for name, weight in network.named_parameters()}

    def slowed(network: nn.Module) -> list[torch.optim.Optimizer]:
        one = optimizer.build(network.parameters())
        slow_encoder(network, one, (), rate)
        return [one]

    def apart(network: nn.Module) -> list[torch.optim.Optimizer]:
        parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for name, weight in network.named_parameters():
            parts["encoder" in name.split(".")].append(weight)
        slow = replace(optimizer, learning_rate=optimizer.learning_rate * max(rate, 1e-12))
        return [slow.build(parts[True]), optimizer.build(parts[False])]

    one, two = moved(slowed), moved(apart)
    for name, change in one.items():
        torch.testing.assert_close(change, two[name], rtol=1e-3, atol=1e-6)
        assert (change.abs().max() == 0) == ("encoder" in name.split(".") and rate == 0)


def test_what_is_fresh_learns_at_full_speed(small_plan: Plan) -> None:
    mine = task(small_plan, ("MR",), ("organ",), initial=InitialWeights("other", "0" * 64, encoder_rate=0.0))
    name, _ = first_kernel(mine.network())
    initial = replace(mine.configuration.initial, fresh=(name,))  # type: ignore[type-var]
    state = start(replace(mine, configuration=replace(mine.configuration, initial=initial)), SETTINGS)
    learning = {key for key, weight in state.network.named_parameters() if weight.requires_grad}
    assert name in learning
    assert not any("encoder" in key.split(".") for key in learning - {name}) and len(learning) > 1


def test_a_network_without_an_encoder_cannot_be_slowed_down() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1))
    with pytest.raises(UsageError, match="no part of that name"):
        slow_encoder(network, torch.optim.SGD(network.parameters(), lr=0.1), (), 0.5)
    slow_encoder(network, torch.optim.SGD(network.parameters(), lr=0.1), (), 1.0)  # nothing is asked of it


def test_residual_networks_fit_as_well(small_plan: Plan) -> None:
    network = residual_unet.Spec((4, 8), ((3, 3, 3),) * 2, ((1, 1, 1), (2, 2, 2)), (1, 1), (1,))
    donor, theirs = donor_of(task(small_plan, ("A", "B"), ("organ",), network=network))
    mine = task(small_plan, ("B",), ("organ",), network=network)
    found = fitted(mine, mine.network(), donor)
    name, kernel = first_kernel(theirs)
    torch.testing.assert_close(found.weights[name], kernel[:, 1:])
    assert not found.fresh and found.share == 1

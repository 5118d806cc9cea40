"""Laws of checkpoints."""

import copy
import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from autoseg.core.inputs import InputSpec
from autoseg.errors import TrainingError
from autoseg.parts.networks.plain_unet import Spec as Network
from autoseg.parts.objectives.supervised import Spec as Objective
from autoseg.parts.optimizers.sgd import Spec as Sgd
from autoseg.training.checkpoint import DamagedError, read_checkpoint, write_checkpoint
from autoseg.training.state import TrainingState, resume, save, save_weights

NETWORK = Network((4, 4), ((3, 3), (3, 3)), ((1, 1), (2, 2)), (1, 1), (1,))


def state(seed=0, network=NETWORK):
    torch.manual_seed(seed)
    built = network.build(InputSpec.of_image(1), 2)
    optimizer, scaler = Sgd().build(built.parameters()), torch.amp.GradScaler("cpu", enabled=False)
    return TrainingState(built, optimizer, scaler, Objective().build(None, None, built, None))


def advance(one):
    one.optimizer.zero_grad()
    one.network(torch.ones(1, 1, 8, 8))[0].square().mean().backward()
    one.optimizer.step()
    one.iteration += 1
    one.losses.append(0.5)


def weights(one):
    return torch.cat([weight.detach().flatten() for weight in one.network.parameters()])


def test_a_restored_state_goes_on_as_the_saved_one(tmp_path):
    one, other = state(0), state(1)
    advance(one)
    one.seconds_trained, one.smooth_dice = 12.5, 0.25
    save(one, tmp_path)
    assert resume(other, tmp_path)
    advance(one), advance(other)
    assert torch.equal(weights(one), weights(other))
    plain = ("iteration", "seconds_trained", "losses", "smooth_dice", "best_dice")
    assert all(getattr(one, name) == getattr(other, name) for name in plain)


def test_without_a_checkpoint_nothing_is_resumed(tmp_path):
    assert not resume(state(), tmp_path / "absent")


def test_the_last_two_checkpoints_are_kept(tmp_path):
    one = state()
    for _ in range(4):
        advance(one)
        save(one, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iteration_00000003.pt", "iteration_00000004.pt"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage, caplog):
    one = state()
    advance(one), save(one, tmp_path), advance(one)
    newest = save(one, tmp_path)
    content = bytearray(newest.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 200):  # more than the padding between two tensors
        content[place] ^= 255
    newest.write_bytes({"truncated": content[:-50], "empty": b"", "flipped": bytes(content)}[damage])
    other = state(1)
    assert resume(other, tmp_path) and other.iteration == 1
    assert str(newest) in caplog.text


def test_every_changed_byte_of_a_checkpoint_is_found(tmp_path):
    one = state()
    advance(one)
    path = save(one, tmp_path)
    content, good = path.read_bytes(), weights(one)
    places = [*range(0, len(content), 97), *range(len(content) - 400, len(content))]
    for place in places:  # among them what the archive says about its entries, of which it has no checksum
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        try:
            read = read_checkpoint(path)["network"]
        except DamagedError:
            continue
        assert torch.equal(torch.cat([value.flatten() for value in read.values()]), good)


def broken(content, change):
    content = copy.deepcopy(content)
    change(content)
    return content


def first(content):
    return next(iter(content["network"]))


EDITS = {
    "no dictionary": lambda c: c.clear(),
    "missing": lambda c: c.pop("losses"),
    "iteration": lambda c: c.update(iteration="2"),
    "losses": lambda c: c.update(losses=["0.5"]),
    "seconds": lambda c: c.update(seconds_trained=float("nan")),
    "final": lambda c: c.update(final=(1, 2)),
    "parts": lambda c: c.update(parts=0),
    "no number of parts": lambda c: c.update(parts="2"),
    "objective": lambda c: c.update(objective=3),
    "state of another objective": lambda c: c["objective"].update(teacher=torch.zeros(1)),
    "network": lambda c: c.update(network=3),
    "no tensor": lambda c: c["network"].update({first(c): 3}),
    "not a number": lambda c: c["network"][first(c)].fill_(float("nan")),
    "another shape": lambda c: c["network"].update({first(c): torch.zeros(1)}),
    "weight missing": lambda c: c["network"].pop(first(c)),
    "optimizer": lambda c: c.update(optimizer={}),
    "momentum": lambda c: c["optimizer"]["state"][0].update(momentum_buffer=torch.zeros(7)),
    "groups": lambda c: c["optimizer"]["param_groups"].clear(),
    "another fold": lambda c: c.update(run="3d_fullres/fold_9"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_checkpoint_that_cannot_be_used_is_passed_over(tmp_path, edit, caplog):
    one = state()
    advance(one), save(one, tmp_path)
    before = weights(one)
    advance(one)
    newest = save(one, tmp_path)
    write_checkpoint(newest, broken(read_checkpoint(newest), edit))
    other = state(1)
    assert resume(other, tmp_path) and other.iteration == 1
    assert torch.equal(weights(other), before) and str(newest) in caplog.text
    advance(other)


def test_after_a_damaged_checkpoint_the_new_ones_are_kept(tmp_path):
    one = state()
    for _ in range(5):
        advance(one)
    for number in (4, 5):
        (tmp_path / f"iteration_{number:08d}.pt").write_bytes(b"")
    fresh = state()
    assert not resume(fresh, tmp_path)
    advance(fresh), save(fresh, tmp_path)
    other = state()
    assert resume(other, tmp_path) and other.iteration == 1


def test_a_checkpoint_without_a_checksum_is_taken(tmp_path):
    one = state()
    advance(one)
    path = save(one, tmp_path)
    content = {name: value for name, value in read_checkpoint(path).items() if name not in ("ended", "run")}
    torch.save(content, path)
    other = state(1)
    assert resume(other, tmp_path) and torch.equal(weights(other), weights(one))


def test_half_written_checkpoints_are_removed(tmp_path):
    (tmp_path / ".writing-999999999-0123abcd-iteration_00000009.pt").write_bytes(b"half")
    assert not resume(state(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    save(state(), tmp_path)
    with pytest.raises(TrainingError, match="another network"):
        resume(state(network=dataclasses.replace(NETWORK, features=(4, 6))), tmp_path)


def test_a_checkpoint_of_another_seed_is_refused(tmp_path):
    save(state(), tmp_path)
    other = state()
    other.seed = 1
    with pytest.raises(TrainingError, match="started with --seed 0"):
        resume(other, tmp_path)


def test_weights_come_back_as_they_were(tmp_path):
    one = state()
    save_weights(tmp_path / "weights.safetensors", one.network)
    read = load_file(tmp_path / "weights.safetensors")
    assert read.keys() == one.network.state_dict().keys()
    assert all(torch.equal(read[name], value) for name, value in one.network.state_dict().items())

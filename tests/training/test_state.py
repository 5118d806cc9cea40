"""Laws of checkpoints."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from autoseg.errors import TrainingError
from autoseg.parts.networks.plain_unet import Spec as Network
from autoseg.parts.optimizers.sgd import Spec as Sgd
from autoseg.training.state import TrainingState, resume, save, save_weights

NETWORK = Network((4, 4), ((3, 3), (3, 3)), ((1, 1), (2, 2)), (1, 1), (1,))


def state(seed=0, network=NETWORK):
    torch.manual_seed(seed)
    built = network.build(1, 2)
    return TrainingState(built, Sgd().build(built.parameters()), torch.amp.GradScaler("cpu", enabled=False))


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

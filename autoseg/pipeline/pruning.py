"""How much of a network prediction needs: validation cases predicted again by its parts.

A network whose ``Spec`` has ``prunings``, records of the same network that compute less of it with the same weights,
can be pruned (U-Net++: Zhou et al. 2018, arXiv 1807.10165, whose decoders of every depth end at full resolution).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from typing import Any

from ..evaluation.pruning import Pruned, PruningTest
from ..inference.model import Model
from .predicted_again import LEAST_GAIN, Validated


def prunings_of(network: Any) -> Sequence[Any]:
    """Records that compute less, the smallest first; none of most networks."""
    found: Sequence[Any] = getattr(network, "prunings", ())
    return found


def measure_prunings(validated: Validated) -> PruningTest:
    """Compares every pruned network with what validation predicted with the whole one; the smallest one that loses
    less than LEAST_GAIN of the mean Dice is chosen. Raises ModelError when a case cannot be predicted."""
    network = validated.task.configuration.network
    whole = validated.again(f"with {_told(network)}", lambda model: model)
    tried = []
    for spec in prunings_of(network):
        found = validated.again(f"with {_told(spec)}", lambda model, spec=spec: pruned(model, spec))  # type: ignore[misc]
        cases, loss = len(found.keys), None if isnan(found.gain) else found.gain
        tried.append(Pruned(spec, found.dice(found.after), loss, found.compared.difference, found.seconds / cases))
    enough = (place for place, each in enumerate(tried) if each.loss is not None and each.loss < LEAST_GAIN)
    chosen = next(enough, None)
    return PruningTest(chosen, whole.dice(whole.before), whole.seconds / len(whole.keys), tuple(tried))


def pruned(model: Model, spec: Any) -> Model:
    """The same weights in the network that ``spec`` describes."""
    task = replace(model.task, configuration=replace(model.configuration, network=spec, cost=None))
    networks = []
    for trained in model.networks:
        network = task.network()
        network.load_state_dict(trained.state_dict())
        networks.append(network.to(next(trained.parameters()).device).eval())
    return replace(model, task=task, networks=tuple(networks))


def _told(spec: Any) -> str:
    return f"decoder {spec.decoder}" if hasattr(spec, "decoder") else "the whole network"

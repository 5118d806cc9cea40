"""What was decided, and why: every decision with its reason, the network stage by stage, what a training costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...configuration import NETWORKS, Configuration, StepCost
from ...core.amounts import bytes_text
from ...core.progress import duration
from ...parts.networks import multi_encoder_unet
from ...plan import Plan
from ...task import Task
from ..blocks import Block, Column, Facts, Heading, Notice, Parts, Stage, Table, UNet
from ..source import Source
from . import Part

GB = 1e9
STAGES = ("features", "kernels", "strides", "blocks_encoder", "blocks_decoder")
"""What a network tells of its stages if it can be drawn."""


def blocks(source: Source) -> list[Block]:
    """First what holds for all configurations, then each of them, the default first."""
    plan = source.plan
    if plan is None:
        return [] if source.damaged else [Notice("Nothing was planned yet; run `autoseg plan_and_preprocess`.")]
    names = sorted(plan.configurations, key=lambda name: name != plan.default)
    shown = [name for name in names if source.configuration in (None, name)]
    found: list[Block] = [Facts((("planner", plan.planner), ("default configuration", plan.default)))]
    if plan.draft:
        found.append(
            Notice("A draft: network, patch and batch are decided when the first training measures its machine.")
        )
    found += _reasons("Decisions for all configurations", plan.reasons, source)
    for name in shown:
        found += [Heading(name), *_configuration(source, plan, name)]
    if not shown:
        found.append(Notice(f"The plan has no configuration {source.configuration} any more."))
    return found


def _configuration(source: Source, plan: Plan, name: str) -> list[Block]:
    configuration, task = plan.configurations[name], plan.task(name)
    found: list[Block] = [_facts(configuration), *_reasons("Decisions", configuration.reasons, source)]
    found.append(drawn(configuration, task))
    if configuration.cost is not None:
        found += _cost(configuration, configuration.cost)
    return found


def _facts(configuration: Configuration) -> Facts:
    rules = configuration.training
    steps = rules.epochs * rules.iterations_per_epoch
    length = f"{rules.epochs} epoch{'s' * (rules.epochs > 1)} of {rules.iterations_per_epoch} iterations"
    spacing = ["own" if step is None else f"{step:.4g}" for step in configuration.spacing]
    return Facts(
        (
            ("voxels (mm)", " x ".join(spacing)),
            ("median image (voxels)", _size(configuration.median_shape)),
            ("patch (voxels)", _size(configuration.patch_size)),
            ("batch", f"{configuration.batch_size} patches"),
            ("length", f"{length}: {steps * configuration.batch_size} patches"),
        )
    )


def _reasons(title: str, reasons: Sequence[str], source: Source) -> list[Block]:
    """As ``autoseg plan --explain`` prints them."""
    told = [reason.partition(": ") for reason in reasons]
    rows = tuple((subject, source.without_folders(sentence)) for subject, _, sentence in told)
    return [Table(title, (Column("decision"), Column("what, and why")), rows, filtered=False)] if rows else []


def drawn(configuration: Configuration, task: Task) -> Block:
    """The network, or that it does not tell its stages."""
    network: Any = configuration.network
    name = NETWORKS.name_of(network)
    if not all(hasattr(network, field) for field in STAGES):
        return Notice(f"The network {name} does not tell its stages, so that it is not drawn.")
    size, stages = tuple(configuration.patch_size), []
    ways_up = (*network.blocks_decoder, 0)
    for place, stride in enumerate(network.strides):
        size = tuple(edge // step for edge, step in zip(size, stride))
        kernel = _size(network.kernels[place])
        block = _block(getattr(network, "block", "plain"))
        up = _computes(ways_up[place], block, network.features[place], kernel) if ways_up[place] else ""
        stages.append(
            Stage(_size(size), network.features[place], kernel, _down(network, name, task, place, kernel), up)
        )
    image = f"image, {len(task.seen)} channel{'s' * (len(task.seen) > 1)}"
    further = f", {configuration.slices} slices" if configuration.slices > 1 else ""
    inputs = "".join(f" and {type(part).__module__.rpartition('.')[2]}" for part in configuration.inputs)
    note = "Boxes show voxels of the feature maps and what is computed there; between stages they shrink by the stride."
    logits = f"{task.labels.heads} maps of logits"
    return UNet(f"Network {name}", f"{image}{further}{inputs}", logits, tuple(stages), note)


def _down(network: Any, name: str, task: Task, place: int, kernel: str) -> str:
    if isinstance(network, multi_encoder_unet.Spec):
        groups = len(network.groups_of(task.inputs))
        own = network.own_features(groups)[place]
        return f"{groups} encoders, each {_computes(network.blocks_encoder[place], 'convolution', own, kernel)}"
    kind = "residual" if name == "residual_unet" else getattr(network, "block_down", "plain")
    return _computes(network.blocks_encoder[place], _block(kind), network.features[place], kernel)


def _block(kind: str) -> str:
    """What a stage has several of."""
    named = {"plain": "convolution", "dense": "dense layer"}
    return named.get(kind, f"{kind.replace('_', ' ')} block")


def _computes(count: int, what: str, features: int, kernel: str) -> str:
    return f"{count} {what}{'s' * (count > 1)} {kernel}, {features} maps"


def _cost(configuration: Configuration, cost: StepCost) -> list[Block]:
    counted, rules = cost.counted, configuration.training
    step = counted.fixed + counted.batch + counted.activations
    parts = (
        ("weights and gradients", 2 * counted.weights),
        ("optimizer", counted.optimizer),
        ("patches", counted.batch),
        ("feature maps", counted.activations),
        ("operations at work", max(0, counted.peak - step)),
        ("libraries and gaps", max(0, cost.memory - max(counted.peak, step))),
    )
    seconds = cost.seconds * rules.epochs * rules.iterations_per_epoch
    how = "by timed steps" if cost.timed else "by the data sheet"
    measured = "" if cost.memory_measured is None else bytes_text(cost.memory_measured)
    rows = (
        ("planned for", cost.target),
        ("memory of a training", f"{bytes_text(cost.memory)} of {bytes_text(cost.allowed)} allowed"),
        ("measured by a real step", measured),
        ("time per step", f"{cost.seconds:.3g} s, {how}"),
        ("a whole training", f"about {duration(math.ceil(seconds))}"),
    )
    amounts = tuple((name, size / GB, bytes_text(size)) for name, size in parts if size)
    return [
        Facts(tuple((name, value) for name, value in rows if value)),
        Parts(
            "Memory of a training step, planned",
            "GB",
            amounts,
            ("allowed", cost.allowed / GB, bytes_text(cost.allowed)),
        ),
    ]


def _size(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)


def made_of(source: Source) -> list[Path]:
    """What was decided."""
    return [source.files.plan]


SECTION = Part(40, "Plan", blocks, made_of)

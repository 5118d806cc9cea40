"""Tasks as tests need them, and what they decide."""

from dataclasses import replace

import numpy as np
import torch

from autoseg.configuration import Configuration
from autoseg.core.labels import Labels
from autoseg.plan import Plan
from autoseg.task import Task


def task_of(plan: Plan, configuration: Configuration) -> Task:
    """The plan's default task with another configuration."""
    return replace(plan.task(), configuration=configuration)


def decoded(labels: Labels, logits: np.ndarray) -> np.ndarray:
    """Logits (heads, ...) as a map of the user's values."""
    return labels.written[labels.winners(torch.from_numpy(logits), 0).numpy()]

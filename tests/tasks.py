"""Tasks as tests need them."""

from dataclasses import replace

from autoseg.configuration import Configuration
from autoseg.plan import Plan
from autoseg.task import Task


def task_of(plan: Plan, configuration: Configuration) -> Task:
    """The plan's default task with another configuration."""
    return replace(plan.task(), configuration=configuration)

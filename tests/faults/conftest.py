"""The bench on which faults are tried. A few of them run with every test, all of them with ``--long``."""

from __future__ import annotations

import pytest
from faults.workbench import Workbench


@pytest.fixture(scope="session")
def short_bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """With the commands up to preparing; seconds to build."""
    return Workbench(tmp_path_factory.mktemp("short_bench")).build("plan_and_preprocess")


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """With all commands; a minute to build."""
    return Workbench(tmp_path_factory.mktemp("bench")).build()

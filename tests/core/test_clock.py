"""Stages add up: what happens inside another stage counts once."""

import threading
import time

import pytest

from autoseg.core.clock import Clock, StoppedError


def test_a_stage_inside_another_counts_by_itself():
    clock, start = Clock(), time.perf_counter()
    with clock.stage("outer"):
        time.sleep(0.01)
        for _ in range(2):
            with clock.stage("inner"):
                time.sleep(0.02)
        time.sleep(0.01)
    elapsed = time.perf_counter() - start
    assert list(clock.seconds) == ["outer", "inner"]
    assert clock.seconds["inner"] >= 0.04 and clock.seconds["outer"] >= 0.02
    assert sum(clock.seconds.values()) == pytest.approx(elapsed, abs=0.005)


def test_the_innermost_stage_is_the_one_that_failed():
    clock = Clock()
    with pytest.raises(ZeroDivisionError), clock.stage("outer"), clock.stage("inner"):
        raise ZeroDivisionError
    assert clock.failed == "inner"


def test_no_stage_begins_once_nobody_waits():
    stopped = threading.Event()
    clock = Clock(stopped)
    with clock.stage("first"):
        stopped.set()
    with pytest.raises(StoppedError), clock.stage("second"):
        pass
    assert list(clock.seconds) == ["first"]

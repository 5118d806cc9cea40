"""The threaded map keeps order, passes errors on, and looks only so far ahead."""

from __future__ import annotations

import math
import threading
import weakref

import pytest

from autoseg.core.parallel import ordered_map
from autoseg.core.progress import duration
from autoseg.core.seeds import generator


@pytest.mark.parametrize("workers", [1, 4])
def test_results_come_in_order(workers: int) -> None:
    assert list(ordered_map(lambda x: x * x, range(50), workers)) == [x * x for x in range(50)]


def test_an_error_arrives_at_its_turn_with_its_type() -> None:
    results = []
    with pytest.raises(ZeroDivisionError):
        for result in ordered_map(lambda x: 1 // (3 - x), range(10), 2):
            results.append(result)
    assert len(results) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_nobody_waits_for_any_more_may_end(error: type[BaseException]) -> None:
    stopped = threading.Event()

    def work(number: int) -> bool:
        if number == 0:
            raise error
        return stopped.wait(10)

    with pytest.raises(error):
        list(ordered_map(work, range(4), workers=2, stopped=stopped))
    assert stopped.is_set()


def test_the_source_is_read_only_as_far_as_needed() -> None:
    taken = []

    def source():
        for number in range(100):
            taken.append(number)
            yield number

    results = ordered_map(lambda x: x, source(), workers=2, ahead=1)
    next(results)
    assert len(taken) <= 4
    results.close()


@pytest.mark.parametrize(("room", "most"), [(math.inf, 11), (30.0, 3), (29.0, 2), (1.0, 1)])
def test_results_that_wait_take_no_more_than_their_room(room: float, most: int) -> None:
    begun, taken = [], 0

    def source():
        for number in range(40):
            begun.append(number)
            yield number

    results = ordered_map(lambda x: x, source(), workers=8, ahead=3, size=lambda x: 10.0, room=room)
    for taken, result in enumerate(results, 1):
        assert result == taken - 1
        # one is the item that waits for room, in the source's hands and not begun
        assert len(begun) - taken <= most + (room < math.inf)
    assert taken == 40


def test_a_result_is_forgotten_once_it_is_taken() -> None:
    class Large:
        pass

    went_on = threading.Event()

    def make(number: int) -> Large:
        if number:
            went_on.set()
        return Large()

    results = ordered_map(make, range(9), workers=1, ahead=2)
    taken = weakref.ref(next(results))
    assert went_on.wait(60)  # the thread that made it is at the next
    assert taken() is None
    results.close()


def test_work_is_done_by_threads_of_this_process() -> None:
    assert set(ordered_map(lambda _: threading.get_ident(), range(4), 2)) != {threading.get_ident()}


def test_a_generator_depends_on_seed_and_purpose_only() -> None:
    assert generator(1, "patches", 3).integers(1 << 60) == generator(1, "patches", 3).integers(1 << 60)
    assert generator(1, "patches", 3).integers(1 << 60) != generator(1, "patches", 4).integers(1 << 60)
    assert generator(1, "patches", 3).integers(1 << 60) != generator(2, "patches", 3).integers(1 << 60)


@pytest.mark.parametrize(("seconds", "said"), [(8.2, "8 s"), (720, "12 min"), (12000, "3 h 20 min")])
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said

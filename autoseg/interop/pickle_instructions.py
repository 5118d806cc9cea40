"""The program that a pickle is, cut into instructions: each is known to be whole before its argument is read."""

from __future__ import annotations

import io
import pickletools
from collections.abc import Iterator
from typing import Any

MOST_INSTRUCTIONS = 2_500_000  # the log of 1000 epochs with 100 labels has 1 400 000
MOST_LOOKED_UP = 100_000
LONGEST_NUMBER = 160  # bytes that write it
OPCODES = {ord(opcode.code): opcode for opcode in pickletools.opcodes}
LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT4: 4, pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}  # fmt: skip
"""How an argument begins that says its own length to how many bytes say it."""
TWO_LINES = ("GLOBAL", "INST")
LOOKUPS = frozenset(("GET", "BINGET", "LONG_BINGET"))
REMEMBERS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
NUMBERS = frozenset(("INT", "LONG", "LONG1", "LONG4", "FLOAT", "GET", "PUT"))


def instructions(content: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, int, int]]:
    """Every instruction and where its argument lies, up to the end of the program. Raises ValueError for damage."""
    at, end = 0, len(content)
    while at < end:
        opcode = OPCODES.get(content[at])
        if opcode is None:
            raise ValueError(f"there is no instruction {content[at]}")
        start = at + 1
        length = 0 if opcode.arg is None else opcode.arg.n
        if length < 0:
            length = _length(opcode.name, length, content, start)
        at = start + length
        if at > end:
            raise ValueError("it ends too early")
        if length > LONGEST_NUMBER and opcode.name in NUMBERS:
            raise ValueError(f"a number is {length} bytes long")
        yield opcode, start, at
        if opcode.name == "STOP":
            return
    raise ValueError("it ends too early")


def _length(name: str, kind: int, content: bytes, start: int) -> int:
    """Bytes of an argument that says itself how long it is; the last one is never beyond the end of the content."""
    if kind == pickletools.UP_TO_NEWLINE:
        stop = content.index(b"\n", start) + 1
        return (content.index(b"\n", stop) + 1 if name in TWO_LINES else stop) - start
    digits = LENGTHS[kind]
    return digits + int.from_bytes(content[start : start + digits], "little")


def looked_up(content: bytes) -> set[int]:
    """What is looked up of all that the program remembers, so that nothing else need be kept."""
    wanted: set[int] = set()
    for count, (opcode, start, stop) in enumerate(instructions(content)):
        if count > MOST_INSTRUCTIONS or len(wanted) > MOST_LOOKED_UP:
            raise ValueError("it is longer than any checkpoint is")
        if opcode.name in LOOKUPS:
            wanted.add(place(opcode.name, content[start:stop]))
    return wanted


def place(name: str, argument: bytes) -> int:
    """Where something is remembered: a number of some bytes, or its digits."""
    return int(argument) if name in ("GET", "PUT") else int.from_bytes(argument, "little")


def argument_of(opcode: pickletools.OpcodeInfo, argument: bytes) -> Any:
    """The value that its bytes stand for."""
    assert opcode.arg is not None, "what has no argument is not asked for one"
    return opcode.arg.reader(io.BytesIO(argument))

"""A pickle read as data. Nothing that it names is imported, nothing that it asks for is called.

A pickle is a program for a stack machine. This machine knows the instructions that put plain values together; where the
program names something outside, or wants to call it, only what the caller lists is allowed, and the caller's own
function stands in for it. Everything else is refused by name.

What a program makes is counted in bytes while it runs, since a few of its bytes can ask for many. A value may hold
another one many times over, so that written out, compared or hashed it would never end: nothing here does so, and
neither may those who get it. Text about it comes from ``core.names.short``.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, NoReturn, Union

from ..core.names import SHORT, short
from ..errors import ModelError
from .pickle_instructions import LOOKUPS, REMEMBERS, argument_of, instructions, looked_up, place

LARGEST = 32 << 20  # bytes of a pickle; tensors are not in it, and the log of 1000 epochs with 100 labels has 6 MB
LARGEST_VALUE = 160 << 20  # bytes of memory, of all that a pickle makes on its way
MOST_NUMBERS_AS_KEYS = 20_000  # numbers can be chosen to meet in one place of a table, text and bytes cannot
MOST_ARGUMENTS = 16


@dataclass(frozen=True)
class Named:
    """Something outside that a pickle names, such as a function: its full name and nothing else."""

    name: str


Known = Mapping[str, Union[Callable[..., Any], None]]
"""Full name to what stands in for it when it is called; None: it may be named, but not called. What stands in gets any
values, and may take no longer, and make no more, than the lengths of its arguments say."""
Persistent = Callable[[Any], Any]
"""Makes a value of what a pickle keeps outside of itself, as torch keeps the numbers of its tensors."""

# What a damaged pickle makes a stack machine stumble over; a sound one never does.
DAMAGE = (ValueError, IndexError, TypeError, KeyError, EOFError, RecursionError, OverflowError, struct.error)


def read_pickle(file: IO[bytes], where: str, known: Known, persistent: Persistent | None = None) -> Any:
    """The value in ``file``: dicts, lists, tuples, sets, strings, bytes, numbers and what ``known`` makes.

    Attributes that a pickle sets on a value are dropped, as plain values have none. Raises ModelError naming the first
    thing that is not in ``known``, or saying that the file is damaged or makes too much.
    """
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ModelError(f"{where} has more than {LARGEST >> 20} MB, which is too much for a pickle of plain values")
    try:
        machine = _Machine(where, known, persistent, looked_up(content))
        for opcode, start, stop in instructions(content):
            machine.step(opcode, content[start:stop])
        (result,) = machine.stack
    except DAMAGE as error:
        raise ModelError(f"{where} is damaged: {short(str(error) or type(error).__name__, 200)}") from None
    return result


@dataclass
class _Machine:
    where: str
    known: Known
    persistent: Persistent | None
    wanted: set[int]
    stack: list[Any] = field(default_factory=list)
    below: list[list[Any]] = field(default_factory=list)
    """What was on the stack before each open mark."""
    memo: dict[int, Any] = field(default_factory=dict)
    remembered: int = 0
    left: int = LARGEST_VALUE
    """Bytes that may still be made."""
    numbers_left: int = MOST_NUMBERS_AS_KEYS

    def step(self, opcode: pickletools.OpcodeInfo, argument: bytes) -> None:
        """One instruction; ``argument`` is what follows it in the file."""
        name = opcode.name
        self.left -= COSTS.get(name, COST)
        if self.left < 0:
            self.charge(0)
        if name in LOOKUPS:
            self.stack.append(self.memo[place(name, argument)])
        elif name in REMEMBERS:
            self.remember(place(name, argument))
        elif name in PUSH_ARGUMENT:
            self.charge(len(argument) if argument.isascii() else 4 * len(argument))
            self.stack.append(argument_of(opcode, argument))
        elif name in INSTRUCTIONS:
            INSTRUCTIONS[name](self, argument_of(opcode, argument) if argument else None)
        else:
            what = _said(argument_of(opcode, argument)) if argument else "something"
            self.refuse(f"{what} by the instruction {name}")

    def charge(self, size: int) -> None:
        """Counts ``size`` bytes that are about to be made."""
        self.left -= size
        if self.left < 0:
            raise ValueError(f"it makes more than {LARGEST_VALUE >> 20} MB of values; this is no checkpoint")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        return self.stack.pop()

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        """The values above the topmost mark, which goes as well."""
        values, self.stack = self.stack, self.below.pop()
        return values

    def top(self, count: int) -> list[Any]:
        """Takes the topmost values, the lowest first."""
        values = self.stack[-count:]
        del self.stack[-count:]
        if len(values) < count:
            raise ValueError("a value is missing")
        return values

    def remember(self, key: int) -> None:
        value = self.stack[-1]
        self.remembered += 1
        if key in self.wanted:
            self.charge(COST_REMEMBERED)
            self.memo[key] = value

    def add(self, items: list[Any]) -> None:
        """To the list, dict or set on top of the stack."""
        target = self.stack[-1]
        if type(target) is list:
            target += items
        elif type(target) is dict:
            target.update(self.pairs(items))
        elif type(target) is set:
            target.update(self.keys(items))
        else:
            raise ValueError(f"items are added to a {type(target).__name__}")

    def pairs(self, items: list[Any]) -> Iterable[tuple[Any, Any]]:
        if len(items) % 2:
            raise ValueError("a key has no value")
        return zip(self.keys(items[::2]), items[1::2])

    def keys(self, items: list[Any]) -> list[Any]:
        """The items, if a table can hold them as quickly as they were written."""
        self.charge(len(items) * COST_OF_KEY)
        for item in items:
            if type(item) not in (str, bytes, int, float, bool, type(None)):
                raise ValueError(f"a {type(item).__name__} is a key")
        self.numbers_left -= sum(type(item) in (int, float) for item in items)
        if self.numbers_left < 0:
            raise ValueError(f"more than {MOST_NUMBERS_AS_KEYS} numbers are keys")
        return items

    def name(self, full: str) -> None:
        if full not in self.known:
            self.refuse(_said(full))
        self.push(Named(full))

    def call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise ValueError(f"a {type(function).__name__} is called")
        stand_in = self.known[function.name]
        if stand_in is None:
            self.refuse(f"a call of {function.name}")
        if len(arguments) > MOST_ARGUMENTS:
            raise ValueError(f"{function.name} is called with {len(arguments)} arguments")
        sized = (item for item in arguments if isinstance(item, str | bytes | list | tuple | dict | set | frozenset))
        self.charge(sum(len(item) if isinstance(item, str | bytes) else COST_OF_KEY * len(item) for item in sized))
        self.push(stand_in(*arguments))

    def fetch(self, identity: Any) -> None:
        if self.persistent is None:
            self.refuse(f"{_said(identity)}, which is not in the file")
        self.push(self.persistent(identity))

    def refuse(self, what: str) -> NoReturn:
        raise ModelError(
            f"{self.where} is not loaded: it asks for {what}. Only tensors and plain values are read, nothing is run"
        )


def _said(value: Any) -> str:
    """For messages: a name as it is, if it can be shown."""
    if isinstance(value, str) and not value.isprintable():
        value = ascii(value[:SHORT])
    return short(value)


Instruction = Callable[[_Machine, Any], Any]
PUSH_ARGUMENT = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
))  # fmt: skip
COST, COST_OF_KEY, COST_REMEMBERED = 16, 100, 100
COSTS = {
    **dict.fromkeys(PUSH_ARGUMENT, 64), **dict.fromkeys(("EMPTY_SET", "FROZENSET", "DICT"), 240),
    **dict.fromkeys(("MARK", "EMPTY_LIST", "EMPTY_DICT", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"), 96),
    **dict.fromkeys(("SETITEM", "SETITEMS", "PERSID", "BINPERSID"), 192),
    **dict.fromkeys(("REDUCE", "NEWOBJ", "GLOBAL", "STACK_GLOBAL"), 112),
}  # fmt: skip
"""Bytes of memory that an instruction may take, its argument aside: what Python's objects have, and their places."""
INSTRUCTIONS: dict[str, Instruction] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_SET": lambda machine, _: machine.push(set()),
    "MARK": lambda machine, _: machine.mark(),
    "POP": lambda machine, _: machine.pop() if machine.stack else machine.to_mark(),
    "POP_MARK": lambda machine, _: machine.to_mark(),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    "LIST": lambda machine, _: machine.push(machine.to_mark()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.to_mark())),
    "DICT": lambda machine, _: machine.push(dict(machine.pairs(machine.to_mark()))),
    "FROZENSET": lambda machine, _: machine.push(frozenset(machine.keys(machine.to_mark()))),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.top(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.top(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.top(3))),
    "APPEND": lambda machine, _: machine.add(machine.top(1)),
    "SETITEM": lambda machine, _: machine.add(machine.top(2)),
    **dict.fromkeys(("APPENDS", "SETITEMS", "ADDITEMS"), lambda machine, _: machine.add(machine.to_mark())),
    "MEMOIZE": lambda machine, _: machine.remember(machine.remembered),
    "GLOBAL": lambda machine, argument: machine.name(argument.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name(".".join(machine.top(2))),
    "REDUCE": lambda machine, _: machine.call(*machine.top(2)),
    "NEWOBJ": lambda machine, _: machine.call(*machine.top(2)),
    "BUILD": lambda machine, _: machine.top(1),
    "PERSID": lambda machine, argument: machine.fetch(argument),
    "BINPERSID": lambda machine, _: machine.fetch(machine.pop()),
}
"""What a pickle may ask for; INST, OBJ, NEWOBJ_EX, extensions and buffers are not among it."""

"""A pickle read as data. Nothing that it names is imported, nothing that it asks for is called.

A pickle is a program for a stack machine. This machine knows the instructions that put plain values together; where the
program names something outside, or wants to call it, only what the caller lists is allowed, and the caller's own
function stands in for it. Everything else is refused by name.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, NoReturn, Union

from ..errors import ModelError


@dataclass(frozen=True)
class Named:
    """Something outside that a pickle names, such as a function: its full name and nothing else."""

    name: str


Known = Mapping[str, Union[Callable[..., Any], None]]
"""Full name to what stands in for it when it is called; None: it may be named, but not called."""
Persistent = Callable[[Any], Any]
"""Makes a value of what a pickle keeps outside of itself, as torch keeps the numbers of its tensors."""

# What a damaged pickle makes a stack machine stumble over; a sound one never does.
DAMAGE = (ValueError, IndexError, TypeError, KeyError, EOFError, RecursionError, OverflowError)


def read_pickle(file: IO[bytes], where: str, known: Known, persistent: Persistent | None = None) -> Any:
    """The value in ``file``: dicts, lists, tuples, sets, strings, bytes, numbers and what ``known`` makes.

    Attributes that a pickle sets on a value are dropped, as plain values have none. Raises ModelError naming the first
    thing that is not in ``known``, or saying that the file is damaged.
    """
    machine = _Machine(where, known, persistent)
    try:
        for opcode, argument, _ in pickletools.genops(file):
            machine.step(opcode.name, argument)
        (result,) = machine.stack
    except DAMAGE as error:
        raise ModelError(f"{where} is damaged: {error or type(error).__name__}") from None
    return result


@dataclass
class _Machine:
    where: str
    known: Known
    persistent: Persistent | None
    stack: list[Any] = field(default_factory=list)
    below: list[list[Any]] = field(default_factory=list)
    """What was on the stack before each open mark."""
    memo: dict[int, Any] = field(default_factory=dict)

    def step(self, name: str, argument: Any) -> None:
        """One instruction; ``argument`` is what follows it in the file."""
        instruction = INSTRUCTIONS.get(name)
        if instruction is None:
            self.refuse(f"{argument or 'something'} by the instruction {name}")
        instruction(self, argument)

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
        return [self.pop() for _ in range(count)][::-1]

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def add(self, items: list[Any]) -> None:
        """To the list, dict or set on top of the stack."""
        target = self.stack[-1]
        if type(target) is list:
            target += items
        elif type(target) is dict:
            target.update(_pairs(items))
        elif type(target) is set:
            target.update(items)
        else:
            raise ValueError(f"items are added to a {type(target).__name__}")

    def name(self, full: str) -> None:
        if full not in self.known:
            self.refuse(full)
        self.push(Named(full))

    def call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise ValueError(f"a {type(function).__name__} is called")
        stand_in = self.known[function.name]
        if stand_in is None:
            self.refuse(f"a call of {function.name}")
        self.push(stand_in(*arguments))

    def fetch(self, identity: Any) -> None:
        if self.persistent is None:
            self.refuse(f"{identity!r}, which is not in the file")
        self.push(self.persistent(identity))

    def refuse(self, what: str) -> NoReturn:
        raise ModelError(
            f"{self.where} is not loaded: it asks for {what}. Only tensors and plain values are read, nothing is run"
        )


Instruction = Callable[[_Machine, Any], Any]
PUSH_ARGUMENT = (
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
)  # fmt: skip
INSTRUCTIONS: dict[str, Instruction] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    **dict.fromkeys(PUSH_ARGUMENT, lambda machine, argument: machine.push(argument)),
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
    "DICT": lambda machine, _: machine.push(dict(_pairs(machine.to_mark()))),
    "FROZENSET": lambda machine, _: machine.push(frozenset(machine.to_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.top(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.top(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.top(3))),
    "APPEND": lambda machine, _: machine.add(machine.top(1)),
    "SETITEM": lambda machine, _: machine.add(machine.top(2)),
    **dict.fromkeys(("APPENDS", "SETITEMS", "ADDITEMS"), lambda machine, _: machine.add(machine.to_mark())),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda machine, key: machine.remember(key)),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, key: machine.push(machine.memo[key])),
    "GLOBAL": lambda machine, argument: machine.name(argument.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name(".".join(machine.top(2))),
    "REDUCE": lambda machine, _: machine.call(*machine.top(2)),
    "NEWOBJ": lambda machine, _: machine.call(*machine.top(2)),
    "BUILD": lambda machine, _: machine.pop(),
    "PERSID": lambda machine, argument: machine.fetch(argument),
    "BINPERSID": lambda machine, _: machine.fetch(machine.pop()),
}
"""What a pickle may ask for; INST, OBJ, NEWOBJ_EX, extensions and buffers are not among it."""


def _pairs(items: list[Any]) -> list[tuple[Any, Any]]:
    if len(items) % 2:
        raise ValueError("a key has no value")
    return list(zip(items[::2], items[1::2]))

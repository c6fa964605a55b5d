"""The program in this process: how it is called, and what it says."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from typing import Any, Iterable, NamedTuple, Optional, Union

from . import _memplan

#: A model or a file, as the command line has it.
Word = Union[str, "os.PathLike[str]"]


class MemplanError(Exception):
    """Why there is no answer, in the program's words."""

    def __init__(self, message: str, hint: Optional[str] = None, code: int = 2) -> None:
        super().__init__(message)
        #: What may help.
        self.hint = hint
        #: The program's exit code: 2 bad usage or input, 3 no GPU.
        self.code = code

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.hint is None else f"{message}\nhint: {self.hint}"


class UnknownOption(MemplanError, TypeError):
    """A keyword that is no flag of the command."""


class Said(NamedTuple):
    """What a call said."""

    #: The exit code: 0, 1 where a run does not fit or a plan grew, 4 where an estimate says that it may fit.
    code: int
    #: The report for people.
    text: str
    #: The report as JSON, of commands that have one.
    json: Optional[str]


def main() -> int:
    """Runs the program as a shell does."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _memplan.run(["memplan", *sys.argv[1:]], [sys.executable, "-m", "memplan"])


def keep(command: str, words: Iterable[Word], options: dict[str, Any], folder: Optional[str] = None) -> Said:
    """Runs a command in this process and gives what it says; nothing is printed. Files of a folder of this moment are named without it."""
    known = {name: (takes_value, repeats) for name, takes_value, repeats in _memplan.flags(command)}
    call = ["memplan", command, *arguments(options, known), "--", *map(os.fspath, words)]
    code, text, json, error, hint, remarks = _memplan.keep(call)
    for remark in remarks:
        warnings.warn(without(remark, folder), stacklevel=4)
    if error is not None or code not in (0, 1, 4):
        kind = MemplanError if all(flag(key) in known for key in options) else UnknownOption
        raise kind(without(error or text, folder), hint, code)
    return Said(code, without(text, folder), json and without(json, folder))


def without(text: str, folder: Optional[str]) -> str:
    """A text whose paths do not name a folder; in JSON backslashes are doubled."""
    if folder is None:
        return text
    path = folder + os.sep
    return text.replace(path, "").replace(path.replace("\\", "\\\\"), "")


def flag(key: str) -> str:
    """The name of a flag as the command line has it; one that Python keeps for itself has an underscore behind."""
    return key.rstrip("_").replace("_", "-")


def arguments(options: dict[str, Any], known: dict[str, tuple[bool, bool]]) -> list[str]:
    """Options as the command line has them. The program itself refuses what it does not know."""
    call: list[str] = []
    for key, value in options.items():
        name = flag(key)
        takes_value, repeats = known.get(name, (True, False))
        if value is None or (value is False and not takes_value):
            continue
        if value is True and not takes_value:
            call.append(f"--{name}")
        elif repeats:
            call.extend(f"--{name}={word}" for word in several(value))
        else:
            call.append(f"--{name}={','.join(several(value))}")
    return call


def several(value: Any) -> list[str]:
    """The words of a value: one, or those of a list or of a dictionary."""
    if isinstance(value, dict):
        return [f"{key}={word(each)}" for key, each in value.items()]
    if isinstance(value, (list, tuple, range)):
        return [each for part in value for each in several(part)]
    return [word(value)]


def word(value: Any) -> str:
    """A value as a word of the command line; a list within a dictionary has `+` between."""
    if isinstance(value, (list, tuple)):
        return "+".join(word(each) for each in value)
    if isinstance(value, bool):
        return str(value).lower()
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)

"""The parser of a command's options. It adds ``--json``, and refuses a wrong option by a `RequestError` in one line."""

from __future__ import annotations

import argparse
import itertools
import sys
from typing import TYPE_CHECKING, Any

from registry.errors import RequestError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import NoReturn

__all__ = ["CommandParser"]

UNKNOWN = "unrecognized arguments: "
WORDED = {int: "give a whole number", float: "give a number"}


class CommandParser(argparse.ArgumentParser):
    """The parser of a command and of its sub-commands.

    Parameters
    ----------
    **settings
        The parameters of `argparse.ArgumentParser`. ``prog`` is ``python -m MODULE``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Without a default, the parser of a sub-command does not overwrite the option that stands before the sub-command.
        self.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document (docs/json.md) and no table"
        )

    @property
    def module(self) -> str:
        """The module of the command, such as ``harness.verify``."""
        return self.prog.removeprefix("python -m ")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> argparse.Namespace:  # type: ignore[override]  # noqa: ANN401 (argparse overloads the method for namespaces of other classes)
        """Return the options. An unknown option is refused before a missing one: it may be the missing one, misspelt.

        Raises
        ------
        RequestError
            The command line is wrong.
        """
        words, known = sys.argv[1:] if args is None else list(args), tuple(self._options())
        for word in itertools.takewhile(lambda word: word != "--", words):
            option = word.partition("=")[0]
            if option.startswith("--") and not any(name.startswith(option) for name in known):
                raise UnknownNameError("option", option, known)
        parsed: argparse.Namespace = super().parse_args(words, namespace)
        return parsed

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises
        ------
        RequestError
            Always: in one line, with the command that shows the options.
        """
        if message.startswith(UNKNOWN):
            raise UnknownNameError("option", message.removeprefix(UNKNOWN).split()[0], self._options())
        raise RequestError(f"{message.removeprefix('argument ')}; see: {self.prog} --help")

    def _options(self) -> Iterator[str]:
        """Yield the options of this command and of its sub-commands."""
        yield from self._option_string_actions
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 (argparse lists sub-commands nowhere else)
                for child in action.choices.values():
                    yield from child._options()  # noqa: SLF001 (the same class)

    def _get_value(self, action: argparse.Action, arg_string: str) -> object:
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError as error:
            allowed = WORDED.get(action.type) if isinstance(action.type, type) else None
            reason = f"{_name(action)} {arg_string!r}: {allowed}" if allowed else f"{_name(action)}: {error.message}"
            raise RequestError(f"{reason}; see: {self.prog} --help") from None

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            kind = f"value of {_name(action)}" if action.option_strings else "sub-command"
            raise UnknownNameError(kind, str(value), action.choices)


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)

"""The flags of `train.run`, read apart from those of the command that is running."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

from absl import flags

from train import quiet, run
from train.config import RunConfig
from train.encoders.find import find_encoder

# As they are before any is parsed, and before a command takes some out for its own.
_DEFINED = tuple(
    copy.deepcopy(flag)
    for module in (run, quiet)
    for flag in flags.FLAGS.get_flags_for_module(module.__name__)
)


class RunFlags:
    """Reads command lines of `train.run` one after the other, with that command's own checks.

    It holds copies of the flags that `train.run` defines, so that nothing is set in this
    process, and a command may have flags of the same names.
    """

    def __init__(self) -> None:
        self._values = flags.FlagValues()
        for flag in _DEFINED:
            self._values[flag.name] = copy.deepcopy(flag)
        self._find_encoder = functools.cache(find_encoder)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all flags."""
        return tuple(self._values)

    def text(self, name: str, value: object) -> str:
        """Returns a value as a command line has it; equal numbers have one text.

        Args:
          name: of a flag.
          value: a text, a number or a truth value.

        Raises:
          ValueError: there is no such flag, or it does not take the value.
        """
        if name not in self._values:
            raise ValueError(f"--{name} is not a flag of train.run{self._suggestion(name)}")
        if isinstance(value, bool):
            value = "true" if value else "false"
        if not isinstance(value, str | int | float):
            raise ValueError(f"--{name} takes one value. Received: {value!r}")
        flag = self._values[name]
        try:
            parsed = flag.parser.parse(str(value))
        except (ValueError, TypeError) as error:
            raise ValueError(f"flag --{name}={value}: {error}") from error
        is_number = isinstance(parsed, int | float) and not isinstance(parsed, bool)
        return repr(parsed) if is_number else str(value)

    def read(self, arguments: Sequence[str]) -> RunConfig:
        """Returns the settings of a command line, settled; looks at no data.

        Args:
          arguments: flags, such as `--task=mnli`.

        Raises:
          ValueError: `train.run` would refuse them.
          OSError: as `train.encoders.find.find_encoder` says, or a file of the task is not there.
        """
        for name in self._values:
            self._values[name].unparse()
        try:
            rest = self._values(["train.run", *arguments])
        except flags.Error as error:
            raise ValueError(str(error)) from error
        if len(rest) > 1:
            raise ValueError(f"unexpected arguments, flags start with --: {' '.join(rest[1:])}")
        config, _ = run.read_config(self._values, self._find_encoder)
        return config

    def _suggestion(self, name: str) -> str:
        try:
            self._values(["train.run", f"--{name}=x"])
        except flags.UnrecognizedFlagError as error:
            _, _, told = str(error).partition("Did you mean: ")
            return f". Did you mean: {told}" if told else ""
        except flags.Error:
            pass
        return ""

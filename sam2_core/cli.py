"""The command `sam2`: track | image | everything | evaluate | benchmark | download.

Every command lives in a module of `sam2_core.commands`, with a function `add` that declares its arguments
and a function that does the work. What a person can put right (a file, a value, a missing download) is told
in one line on stderr with exit code 2; anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .checkpoints import CheckpointError
from .commands import COMMANDS, CommandError
from .datasets import DatasetError
from .prompt_script import attached
from .prompts import PromptError

EXPECTED = (CommandError, CheckpointError, DatasetError, PromptError, OSError)

OPTIONAL = {"PIL": "pillow", "pycocotools": "pycocotools", "matplotlib": "matplotlib", "tqdm": "tqdm"}
"""Modules that only some commands need, and the packages that bring them; a robot's node runs without."""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="sam2", description="Segment and track objects in images and video."
    )
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the command line without the program's name; None: that of this process.

    Returns:
        The exit code: 0, 2 for an error of the caller, 130 after Ctrl-C.
    """
    options = build_parser().parse_args(attached(sys.argv[1:] if arguments is None else arguments))
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("sam2: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `sam2 ... | head`
        sys.stderr.close()
        return 0
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in OPTIONAL:
            raise
        package = OPTIONAL[error.name.split(".")[0]]
        print(f"sam2 {options.command}: needs {package}: pip install {package}", file=sys.stderr)
        return 2
    except EXPECTED as error:
        print(f"sam2 {options.command}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`sam2 download`: fetch the weights of the official models."""

from __future__ import annotations

import argparse
from typing import Any

from ..checkpoints import OFFICIAL, download_directory
from ..configs import MODELS
from ..download import download_checkpoint


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "download",
        help="fetch the weights of official models",
        description="Fetch the weights of official models: resumed where it broke off, checked by sha256.",
    )
    parser.add_argument(
        "names", nargs="+", metavar="NAME", choices=[*MODELS, "all"], help=f"all, or of {', '.join(OFFICIAL)}"
    )
    parser.add_argument(
        "--to",
        metavar="FOLDER",
        help="default: checkpoints/ of a source tree, else $SAM2_CACHE or ~/.cache/sam2",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Fetches every named model; those already there are checked."""
    names = list(OFFICIAL) if "all" in options.names else list(dict.fromkeys(options.names))
    for name in names:
        if name in OFFICIAL:
            print(download_checkpoint(name, options.to or download_directory()))
        else:
            print(f"{name} comes with this project: there is nothing to download")

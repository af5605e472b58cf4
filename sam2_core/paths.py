"""Names of files as people type them."""

from __future__ import annotations

from pathlib import Path


def expanded(path: str | Path) -> Path:
    """A path with its `~` or `~user` replaced, where there is such a user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)

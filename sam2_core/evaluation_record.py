"""What an evaluation has finished, kept beside its masks, so that a killed run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from .datasets import DatasetError
from .evaluation_results import Outcome, SequenceResult
from .metrics import Score

RECORD = "evaluation.json"
"""The record's name in the folder of the masks."""


class EvaluationRecord:
    """The finished sequences in a folder of masks.

    Args:
        folder: of the masks; it need not be there yet.
        settings: what must be the same for results to belong together; JSON's own types.

    Raises:
        DatasetError: the folder holds results of other settings, or an unreadable record.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._path = folder / RECORD
        self._settings = dict(settings)
        self._done: dict[str, SequenceResult] = {}
        if not self._path.is_file():
            return
        found, results = _load(self._path)
        for name in sorted({*found, *self._settings}):
            if found.get(name) != self._settings.get(name):
                raise DatasetError(
                    f"{folder}: holds masks made with {name} {found.get(name)}, "
                    f"not {self._settings.get(name)}: give another folder, or remove it"
                )
        self._done = {result.name: result for result in results if (folder / result.name).is_dir()}

    def __len__(self) -> int:
        return len(self._done)

    def get(self, name: str) -> SequenceResult | None:
        """A sequence's result; None where it is not finished."""
        return self._done.get(name)

    def add(self, result: SequenceResult) -> None:
        """Adds a finished sequence; the file is replaced at once, so that there is never half of one."""
        self._done[result.name] = result
        content = {
            "settings": self._settings,
            "sequences": {name: _entry(done) for name, done in self._done.items()},
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".part")
        partial.write_text(json.dumps(content) + "\n")
        partial.replace(self._path)


def read_results(folder: Path) -> list[SequenceResult]:
    """The sequences that an evaluation with its masks in that folder has finished.

    Raises:
        DatasetError: there is no record, or an unreadable one.
    """
    return _load(folder / RECORD)[1]


def fingerprint(path: Path) -> str:
    """The first half of a file's sha256: tells other weights from those used, wherever they lie."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()[:32]


def _load(path: Path) -> tuple[dict[str, Any], list[SequenceResult]]:
    """A record's settings and results."""
    try:
        content = json.loads(path.read_text())
        return dict(content["settings"]), [_read(*item) for item in content["sequences"].items()]
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file; `sam2 evaluate --save-masks` writes it") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path}: not a record of an evaluation ({error!r}); remove it to begin anew"
        ) from error


def _entry(result: SequenceResult) -> dict[str, Any]:
    return {
        "objects": {str(i): [score.j, score.f] for i, score in result.objects.items()},
        "names": {str(i): name for i, name in result.object_names.items()},
        "frames": result.frames,
        "seconds": result.seconds,
        "baseline_seconds": _plain(result.baseline_seconds),
        "outcomes": [[_plain(value) for value in astuple(outcome)] for outcome in result.outcomes],
    }


def _read(name: str, entry: dict[str, Any]) -> SequenceResult:
    seconds = entry["baseline_seconds"]
    return SequenceResult(
        name,
        {int(i): Score(*pair) for i, pair in entry["objects"].items()},
        entry["frames"],
        entry["seconds"],
        tuple(_outcome(*row) for row in entry["outcomes"]),
        {int(i): object_name for i, object_name in entry["names"].items()},
        math.nan if seconds is None else seconds,
    )


def _outcome(frame: str, object_id: int, present: bool, *figures: float | None) -> Outcome:
    return Outcome(frame, object_id, present, *(math.nan if one is None else one for one in figures))


def _plain(value: Any) -> Any:
    """JSON knows no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value

"""`sam2 evaluate`: J, F and J&F on a folder of annotated videos."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..baselines import BASELINES, Baseline
from ..calibration import PLOTS, Calibration, plot_calibration
from ..checkpoints import require_checkpoint
from ..contact_sheet import contact_sheet, sheet_row
from ..datasets import VideoSequence
from ..evaluation import evaluate_sequence, score_sequence
from ..evaluation_record import EvaluationRecord, fingerprint
from ..evaluation_report import scores_as_dict, scores_as_table
from ..evaluation_results import SequenceResult
from ..loading import precision_name
from ..paths import expanded
from .common import (
    CommandError,
    add_dataset_options,
    add_memory_options,
    add_model_options,
    check_outputs,
    check_picture,
    load,
    memory_config,
    sequences_of,
    write_json,
    write_picture,
)


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "evaluate",
        help="J, F and J&F on annotated videos",
        description="Show each object once, track it online, and compare with the annotations: J (region), "
        "F (boundary) and their mean, in percent. The last line of the output holds the totals.",
    )
    add_dataset_options(parser, prompt="mask")
    parser.add_argument(
        "--single-object", action="store_true", help="take all objects of a PNG together, as DAVIS 2016"
    )
    parser.add_argument("--json", metavar="FILE", help="write the scores there; -: print only them")
    _add_masks_options(parser)
    _add_showing_options(parser)
    add_model_options(parser)
    add_memory_options(parser)
    parser.set_defaults(run=run)


def _add_masks_options(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--save-masks",
        type=expanded,
        metavar="DIR",
        help="keep the masks, in the layout of the annotations; "
        "run again after an interruption, finished sequences are not repeated",
    )
    where.add_argument(
        "--masks", type=expanded, metavar="DIR", help="track nothing: score these masks, in that layout"
    )


def _add_showing_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("looking closer")
    group.add_argument(
        "--contact-sheet",
        nargs="?",
        type=expanded,
        const=Path("out/contact_sheet.png"),
        metavar="FILE",
        help="a picture with a row per sequence, annotation and prediction outlined; default: %(const)s",
    )
    group.add_argument(
        "--calibration", type=expanded, metavar="FILE", help="plot predicted against true IoU, and presence"
    )
    group.add_argument(
        "--against",
        choices=list(BASELINES),
        help="run this beside the tracker, frame by frame in turn, and compare the boxes and the speed",
    )


def run(options: argparse.Namespace) -> None:
    """Evaluates every sequence and prints what came out."""
    if options.masks and (options.calibration or options.against):
        raise CommandError("--masks tracks nothing: leave out --calibration and --against")
    _check_outputs(options)
    sequences = sequences_of(options, options.single_object)
    with _masks_folder(options) as masks:
        results = _score(options, sequences) if options.masks else _track(options, sequences, masks)
        if options.contact_sheet:
            _write_sheet(options, sequences, results, masks)
    if unscored := [result.name for result in results if not result.objects]:
        print(
            f"sam2 evaluate: not in the totals: {', '.join(unscored)}: no annotated object between the first "
            "frame and the last",
            file=sys.stderr,
        )
    calibration = None
    if options.calibration:
        calibration = Calibration.of(outcome for result in results for outcome in result.outcomes)
        plot_calibration(options.calibration, {f"prompt: {options.prompt}": calibration})
    report = scores_as_dict(results, options.against, calibration)
    if options.json and options.json != "-":
        write_json(Path(options.json), report, indent=1)
    if options.json == "-":
        print(json.dumps(report, indent=1))
        return
    if calibration:
        print(calibration.as_text(), end="\n\n")
    print(scores_as_table(results, options.against))


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuses what could not be written after hours of tracking, or would overwrite what is read."""
    files = {
        "--json": None if options.json in (None, "-") else Path(options.json),
        "--contact-sheet": options.contact_sheet,
        "--calibration": options.calibration,
    }
    inputs = [options.masks, options.checkpoint, *(options.sequences or ())]
    check_outputs(files, {"--save-masks": options.save_masks}, inputs, options.folder)
    check_picture("--contact-sheet", options.contact_sheet)
    if options.calibration is not None and options.calibration.suffix.lower() not in PLOTS:
        raise CommandError(
            f"--calibration {options.calibration}: give a name that ends in {', '.join(PLOTS)}"
        )


@contextmanager
def _masks_folder(options: argparse.Namespace) -> Iterator[Path | None]:
    """Where predicted masks lie: a folder of the person's, one for the run if a sheet needs it, or none."""
    if options.masks or options.save_masks or not options.contact_sheet:
        yield options.masks or options.save_masks
        return
    with tempfile.TemporaryDirectory(prefix="sam2_masks_") as folder:
        yield Path(folder)


def _score(options: argparse.Namespace, sequences: list[VideoSequence]) -> list[SequenceResult]:
    with _progress(sequences) as advance:
        return [
            score_sequence(sequence, options.masks / sequence.name, advance(sequence))
            for sequence in sequences
        ]


def _track(
    options: argparse.Namespace, sequences: list[VideoSequence], masks: Path | None
) -> list[SequenceResult]:
    model = load(options)
    settings = _settings(options, precision_name(model))
    record = EvaluationRecord(options.save_masks, settings) if options.save_masks else None
    if record:
        print(f"{options.save_masks}: {len(record)} sequences are finished already", file=sys.stderr)
    memory = memory_config(options, model)
    results = []
    with _progress(sequences) as advance:
        for sequence in sequences:
            step = advance(sequence)
            folder = masks / sequence.name if masks else None
            finished = record is not None and folder is not None and sequence.is_saved(folder)
            result = record.get(sequence.name) if record is not None and finished else None
            if result is None:
                baseline = _baseline(options.against)
                result = evaluate_sequence(model, sequence, options.prompt, folder, step, memory, baseline)
                if record is not None:
                    record.add(result)
            else:
                step(result.frames)
            results.append(result)
    return results


def _baseline(name: str | None) -> Baseline | None:
    try:
        return BASELINES[name]() if name else None
    except ImportError as error:
        raise CommandError(f"--against {name}: {error}") from error


@contextmanager
def _progress(sequences: list[VideoSequence]) -> Iterator[Callable[[VideoSequence], Callable[..., object]]]:
    """A bar on stderr; gives a function that names the sequence and returns what advances the bar."""
    from tqdm import tqdm

    total = sum(len(sequence.frames) for sequence in sequences)
    with tqdm(total=total, unit="frame", mininterval=0.5) as bar:

        def begin(sequence: VideoSequence) -> Callable[..., object]:
            bar.set_description(sequence.name)
            return bar.update

        yield begin


def _write_sheet(
    options: argparse.Namespace,
    sequences: list[VideoSequence],
    results: list[SequenceResult],
    masks: Path | None,
) -> None:
    assert masks is not None, "a sheet has a folder of masks"
    prompt = None if options.masks else options.prompt
    rows = [
        sheet_row(sequence, masks / sequence.name, result, prompt)
        for sequence, result in zip(sequences, results, strict=True)
    ]
    title = str(options.masks) if options.masks else f"{options.model}, prompt: {options.prompt}"
    write_picture(options.contact_sheet, contact_sheet(rows, title))


def _settings(options: argparse.Namespace, precision: str) -> dict[str, Any]:
    """What must be the same for results to belong together."""
    return {
        "model": options.model,
        "weights": fingerprint(require_checkpoint(options.model, options.checkpoint)),
        "image_size": options.image_size,
        "precision": precision,
        "memory": [
            options.memory_policy,
            options.prompted_frames,
            options.memory_frames,
            options.object_pointers,
        ],
        "prompt": options.prompt,
        "single_object": options.single_object,
        "against": options.against,
        "folder": str(options.folder.resolve()),
    }

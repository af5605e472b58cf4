"""`sam2 evaluate`: J, F and J&F on a folder of annotated videos."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from ..checkpoints import require_checkpoint
from ..datasets import find_sequences
from ..evaluation import PROMPTS, SequenceResult, Summary, evaluate_sequence
from ..metrics import Score
from .common import CommandError, add_memory_options, add_model_options, load, memory_config

RECORD = "evaluation.json"
"""File in the folder of saved masks that tells what is done, so that the next run goes on there."""


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "evaluate",
        help="J, F and J&F on annotated videos",
        description="Show each object once, track it online, and compare with the annotations: J (region), "
        "F (boundary) and their mean, in percent. The last line of the output holds the totals.",
    )
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="laid out like DAVIS 2016 or 2017, MOSE or SA-V"
    )
    parser.add_argument(
        "--prompt", default="mask", choices=PROMPTS, help="what is shown of an object; default: %(default)s"
    )
    parser.add_argument("--sequences", nargs="+", metavar="NAME", help="only these")
    parser.add_argument(
        "--single-object", action="store_true", help="take all objects of a PNG together, as DAVIS 2016"
    )
    parser.add_argument("--json", metavar="FILE", help="write the scores there; -: print only them")
    parser.add_argument(
        "--save-masks",
        type=Path,
        metavar="DIR",
        help="keep the masks, in the layout of the annotations; "
        "run again after an interruption, finished sequences are not repeated",
    )
    add_model_options(parser)
    add_memory_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Evaluates every sequence and prints what came out."""
    from tqdm import tqdm

    sequences = find_sequences(options.folder, options.sequences, options.single_object)
    done = _read_record(options)
    model = load(options)
    results = []
    with tqdm(
        total=sum(len(sequence.frames) for sequence in sequences), unit="frame", mininterval=0.5
    ) as bar:
        for sequence in sequences:
            bar.set_description(sequence.name)
            if sequence.name in done:
                bar.update(done[sequence.name].frames)
            else:
                folder = options.save_masks / sequence.name if options.save_masks else None
                done[sequence.name] = evaluate_sequence(
                    model, sequence, options.prompt, folder, bar.update, memory_config(options, model)
                )
                _write_record(options, done)
            results.append(done[sequence.name])
    report = scores_as_dict(results)
    if options.json and options.json != "-":
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    if options.json == "-":
        print(json.dumps(report, indent=1))
    else:
        print(scores_as_table(results))


def scores_as_dict(results: list[SequenceResult]) -> dict[str, Any]:
    """The scores in percent, ready for JSON; None where nothing counts."""
    summary = Summary.of(results)
    sequences = {}
    for result in results:
        sequences[result.name] = _row(result.score, result.fps)
        if len(result.objects) > 1:
            objects = {str(object_id): _row(score) for object_id, score in result.objects.items()}
            sequences[result.name]["objects"] = objects
    return {"sequences": sequences, "overall": _row(summary.score, summary.fps)}


def _row(score: Score, fps: float | None = None) -> dict[str, Any]:
    row = {"J&F": 100 * score.jf, "J": 100 * score.j, "F": 100 * score.f}
    if fps is not None:
        row["fps"] = fps
    return {name: None if math.isnan(value) else round(value, 3) for name, value in row.items()}


def scores_as_table(results: list[SequenceResult]) -> str:
    """A line per sequence, below it one per object where there are several; the totals in the last line."""
    width = max(len("sequence"), *(len(result.name) for result in results))
    lines = [f"{'sequence':{width}}  {'J&F':>5}  {'J':>5}  {'F':>5}  {'frames/s':>8}"]
    for result in results:
        lines.append(f"{result.name:{width}}  {_columns(result.score)}  {result.fps:8.1f}")
        if len(result.objects) > 1:
            lines += [f"{f'  object {i}':{width}}  {_columns(score)}" for i, score in result.objects.items()]
    summary = Summary.of(results)
    score = summary.score
    lines.append("")
    lines.append(
        f"J&F {100 * score.jf:.1f}  J {100 * score.j:.1f}  F {100 * score.f:.1f}  frames/s {summary.fps:.1f}"
    )
    return "\n".join(lines)


def _columns(score: Score) -> str:
    return f"{100 * score.jf:5.1f}  {100 * score.j:5.1f}  {100 * score.f:5.1f}"


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """What must be the same for results to belong together."""
    weights = require_checkpoint(options.model, options.checkpoint)
    return {
        "model": options.model,
        "weights": [str(weights.resolve()), weights.stat().st_size],
        "image_size": options.image_size,
        "memory": [
            options.memory_policy,
            options.prompted_frames,
            options.memory_frames,
            options.object_pointers,
        ],
        "prompt": options.prompt,
        "single_object": options.single_object,
        "folder": str(options.folder.resolve()),
    }


def _read_record(options: argparse.Namespace) -> dict[str, SequenceResult]:
    """The sequences that an earlier run finished."""
    if not options.save_masks or not (options.save_masks / RECORD).is_file():
        return {}
    record = json.loads((options.save_masks / RECORD).read_text())
    settings = _settings(options)
    for name, value in record["settings"].items():
        if settings.get(name) != value:
            raise CommandError(
                f"{options.save_masks}: holds masks made with {name} {value}, not {settings.get(name)}: "
                "give another folder, or remove it"
            )
    results = {}
    for name, entry in record["sequences"].items():
        objects = {int(i): Score(*pair) for i, pair in entry["objects"].items()}
        results[name] = SequenceResult(name, objects, entry["frames"], entry["seconds"])
    if results:
        print(f"{options.save_masks}: {len(results)} sequences are finished already", file=sys.stderr)
    return results


def _write_record(options: argparse.Namespace, done: dict[str, SequenceResult]) -> None:
    if not options.save_masks:
        return
    sequences = {
        result.name: {
            "objects": {str(i): [score.j, score.f] for i, score in result.objects.items()},
            "frames": result.frames,
            "seconds": result.seconds,
        }
        for result in done.values()
    }
    path = options.save_masks / RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")  # replaced at once: an interruption can't leave half a record
    partial.write_text(json.dumps({"settings": _settings(options), "sequences": sequences}, indent=1) + "\n")
    partial.replace(path)

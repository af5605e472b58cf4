"""`sam2 benchmark absences`: is an object that goes away told to be away, and found when it comes back?"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..absence import KINDS, TURN_IMAGES, Absence
from ..configs import MemoryConfig
from ..datasets import VideoSequence
from ..evaluation import make_prompt, read_frame
from ..metrics import Score, boundary_measure, region_similarity
from ..model import SAM2
from ..paths import expanded
from ..tracker import Tracker
from .common import (
    CommandError,
    add_dataset_options,
    add_memory_options,
    add_model_options,
    check_outputs,
    load,
    memory_config,
    sequences_of,
    write_json,
)

AWAY = range(12, 22)
"""In these images the object is away: half a second of DAVIS, after half a second in view."""

IMAGES = 40
"""How much of a video is played: as long as the shortest of the development set."""


@dataclass(frozen=True)
class AbsenceScore:
    """How one absence went; 0 to 1.

    Attributes:
        sequence: name of the video.
        kind: one of `absence.KINDS`.
        presence_there: mean presence in the images that show the object.
        presence_away: mean presence in those that don't.
        shown_away: share of the images without the object for which a mask was given.
        hidden_there: share of the images with the object for which none was.
        after: J&F once it is back, from some images after its return on.
        undisturbed: J&F over the same images of the video without absence.
    """

    sequence: str
    kind: str
    presence_there: float
    presence_away: float
    shown_away: float
    hidden_there: float
    after: float
    undisturbed: float


def add(benchmarks: Any) -> None:
    """Declares the command."""
    parser = benchmarks.add_parser(
        "absences",
        help="what is said of objects that go away and come back",
        description="Play annotated videos in which the first object is made to go away for some images, by "
        "a blackout, behind an occluder, and out of the view: presence and share of images with a mask while "
        "it is away, and J&F after its return beside that of the untouched video, all in percent.",
    )
    add_dataset_options(parser, prompt="mask")
    parser.add_argument("--json", type=expanded, metavar="FILE", help="write the scores there, too")
    add_model_options(parser)
    add_memory_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Prints a line per video and kind, and the means."""
    from tqdm import tqdm

    check_outputs({"--json": options.json}, inputs=[options.checkpoint], dataset=options.folder)
    sequences = [s for s in sequences_of(options) if _is_fit(s)]
    if not sequences:
        raise CommandError(
            f"{options.folder}: no video is as long as {IMAGES} images, with an annotation for each of them "
            "and an object in the first"
        )
    model = load(options)
    memory = memory_config(options, model)
    scores: list[AbsenceScore] = []
    width = max(8, *(len(sequence.name) for sequence in sequences))
    print(heading(width), flush=True)
    with tqdm(total=IMAGES * len(sequences), unit="frame", mininterval=0.5) as bar:
        for sequence in sequences:
            bar.set_description(sequence.name)
            found = measure(model, sequence, options.prompt, memory, bar.update)
            for score in found:
                bar.write(line(score, width))
            scores += found
    if options.json:
        write_json(options.json, [vars(score) for score in scores], indent=1)
    print()
    for score in means(scores):
        print(line(score, width))


def _is_fit(sequence: VideoSequence) -> bool:
    """Whether it is known of every image where the object is: else it would be taken for away."""
    names = [path.stem for path in sequence.frames[:IMAGES]]
    known = len(names) == IMAGES and set(names) <= set(sequence.annotated)
    return known and any(mask.any() for mask in sequence.masks(names[0]).values())


def measure(
    model: SAM2,
    sequence: VideoSequence,
    kind: str = "mask",
    memory: MemoryConfig | None = None,
    progress: Callable[[], object] = lambda: None,
) -> list[AbsenceScore]:
    """Plays the beginning of a video untouched and with every kind of absence.

    Args:
        model: from `load_model`.
        sequence: at least `IMAGES` images, all annotated, with an object in the first.
        kind: what is shown of the object, see `make_prompt`.
        memory: what to remember; None: the model's own settings.
        progress: called after every image.
    """
    images = [read_frame(path) for path in sequence.frames[:IMAGES]]
    annotations = [sequence.masks(path.stem) for path in sequence.frames[:IMAGES]]
    object_id = min(number for number, mask in annotations[0].items() if mask.any())
    masks = [found.get(object_id, np.zeros(images[0].shape[:2], bool)) for found in annotations]
    untouched = _Run(Tracker(model, memory))
    runs = {Absence.of(name, AWAY, masks): _Run(Tracker(model, memory)) for name in KINDS}
    prompts = [make_prompt(object_id, masks[0], kind)]
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        features = untouched.tracker.encode(image)  # most images are the same in all runs
        for absence, one in ((None, untouched), *runs.items()):
            seen, truth = absence.apply(index, image, mask) if absence is not None else (image, mask)
            encoded = features if seen is image else one.tracker.encode(seen)
            [track] = one.tracker.advance(encoded, one.tracker.object_ids, prompts if index == 0 else [])
            score = Score(region_similarity(track.mask, truth), boundary_measure(track.mask, truth))
            one.frames.append(_Frame(bool(truth.any()), track.presence, track.visible, score.jf))
        progress()
    return [one.score(sequence.name, absence.kind, untouched) for absence, one in runs.items()]


@dataclass(frozen=True)
class _Frame:
    there: bool
    presence: float
    visible: bool
    jf: float


class _Run:
    """A tracker, and what it said of every image."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.frames: list[_Frame] = []

    def score(self, sequence: str, kind: str, untouched: _Run) -> AbsenceScore:
        there = [frame for frame in self.frames[1:] if frame.there]
        away = [frame for frame in self.frames if not frame.there]
        back = slice(AWAY.stop + TURN_IMAGES, None)
        return AbsenceScore(
            sequence,
            kind,
            _mean([frame.presence for frame in there]),
            _mean([frame.presence for frame in away]),
            _mean([frame.visible for frame in away]),
            _mean([not frame.visible for frame in there]),
            _mean([frame.jf for frame in self.frames[back]]),
            _mean([frame.jf for frame in untouched.frames[back]]),
        )


def _mean(values: list[float] | list[bool]) -> float:
    return float(np.mean(values)) if values else float("nan")


def means(scores: list[AbsenceScore]) -> list[AbsenceScore]:
    """For each kind the means over all scores of that kind."""
    names = [name for name in AbsenceScore.__dataclass_fields__ if name not in ("sequence", "kind")]
    results = []
    for kind in KINDS:
        rows = [score for score in scores if score.kind == kind]
        values = {name: _mean([getattr(row, name) for row in rows]) for name in names}
        results.append(AbsenceScore("mean", kind, **values))
    return results


def heading(width: int) -> str:
    """What stands above the lines; `width` of the first column."""
    titles = "kind      presence  while away  masks while away  no mask while there  J&F after  untouched"
    return f"{'sequence':{width}}  {titles}"


def line(score: AbsenceScore, width: int) -> str:
    """One score in percent; `width` of the first column."""
    numbers = (
        (score.presence_there, 8),
        (score.presence_away, 10),
        (score.shown_away, 16),
        (score.hidden_there, 19),
        (score.after, 9),
        (score.undisturbed, 9),
    )
    columns = "  ".join(f"{100 * value:{columns}.1f}" for value, columns in numbers)
    return f"{score.sequence:{width}}  {score.kind:8}  {columns}"

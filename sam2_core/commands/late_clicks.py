"""`sam2 benchmark late-clicks`: what a prompt's time stamp is worth when the prompt comes late.

A person marks an object in an image that is some images old by the time the prompt arrives. The same live
tracker follows the object three times over, on the same images: prompted at once, prompted late with the
stamp of the image that was marked, and prompted late without it, so that the newest image is taken for the
marked one. Objects don't disturb each other, so one run through the video does.
"""

from __future__ import annotations

import argparse
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..configs import MemoryConfig
from ..datasets import VideoSequence
from ..evaluation import make_prompt, read_frame
from ..live import LiveResult, LiveTracker
from ..masks import BoolMask
from ..metrics import Score, boundary_measure, region_similarity
from ..model import SAM2
from ..paths import expanded
from ..prompts import Prompt
from ..tracker import Tracker
from .common import (
    CommandError,
    add_dataset_options,
    add_memory_options,
    add_model_options,
    check_outputs,
    load,
    memory_config,
    positive,
    sequences_of,
    write_json,
)

PERIOD = 1_000_000_000 // 24
"""Nanoseconds between the images' stamps: DAVIS is filmed at 24 images per second."""

AGES = (5, 12, 25)
"""How many images old the marked image is when its prompt arrives: a fifth of a second to one second."""

OBJECTS_AT_MOST = 255

LOOK_SECONDS = 1.0
"""How often it is looked whether an image that does not come was lost."""


@dataclass(frozen=True)
class LateScore:
    """J&F of one object, 0 to 1, over the images after its late prompt arrived.

    Attributes:
        sequence: name of the video.
        age: how many images old the marked image was.
        images: how many images count.
        at_once: of the object that was prompted at once.
        stamped: of the one that was prompted late with the image's stamp.
        unstamped: of the one that was prompted late without it.
        seconds: from asking with the stamp until the object was live.
    """

    sequence: str
    age: int
    images: int
    at_once: float
    stamped: float
    unstamped: float
    seconds: float


def add(benchmarks: Any) -> None:
    """Declares the command."""
    parser = benchmarks.add_parser(
        "late-clicks",
        help="J&F after prompts on images that are some images old",
        description="Play annotated videos through a live tracker, every image processed, prompt each object "
        "of the first image late, and compare with a prompt that came at once: J&F in percent over the "
        "images after the late prompt arrived.",
    )
    add_dataset_options(parser, prompt="box")
    parser.add_argument(
        "--ages", nargs="+", type=positive, default=list(AGES), metavar="IMAGES", help="5 12 25"
    )
    parser.add_argument("--json", type=expanded, metavar="FILE", help="write the scores there, too")
    add_model_options(parser)
    add_memory_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Prints a line per video and age, and the means."""
    from tqdm import tqdm

    check_outputs({"--json": options.json}, inputs=[options.checkpoint], dataset=options.folder)
    sequences = sequences_of(options)
    model = load(options)
    memory = memory_config(options, model)
    scores: list[LateScore] = []
    width = max(8, *(len(sequence.name) for sequence in sequences))
    print(heading(width), flush=True)
    with tqdm(total=sum(len(s.frames) for s in sequences), unit="frame", mininterval=0.5) as bar:
        for sequence in sequences:
            bar.set_description(sequence.name)
            found = measure(model, sequence, options.ages, options.prompt, memory, bar.update)
            for score in found:
                bar.write(line(score, width))
            scores += found
    if not scores:
        raise CommandError(
            f"{options.folder}: no video is longer than {min(options.ages) + 2} images and has an object in "
            "the first"
        )
    if options.json:
        write_json(options.json, [vars(score) for score in scores], indent=1)
    print()
    for score in means(scores):
        print(line(score, width))


def measure(
    model: SAM2,
    sequence: VideoSequence,
    ages: Sequence[int] = AGES,
    kind: str = "box",
    memory: MemoryConfig | None = None,
    progress: Callable[[], object] = lambda: None,
) -> list[LateScore]:
    """Plays one video and prompts each object of its first image at once, and late in both ways.

    Args:
        model: from `load_model`.
        sequence: from `sequences_of`.
        ages: how many images old the marked image is.
        kind: what is shown of an object, see `make_prompt`.
        memory: what to remember; None: the model's own settings.
        progress: called after every image.

    Returns: a score per object and age that the video is long enough for.

    Raises:
        CommandError: the prompts are more than a tracker holds.
        PromptError: an age lies beyond the history.
    """
    truth = {i: mask for i, mask in sequence.masks(sequence.frames[0].stem).items() if mask.any()}
    runs = [
        _Run(mask, ages, kind, number * (1 + 2 * len(ages))) for number, mask in enumerate(truth.values())
    ]
    if runs and runs[-1].last_id > OBJECTS_AT_MOST:
        raise CommandError(
            f"{sequence.name}: {len(runs)} objects are too many for {len(ages)} ages: give fewer"
        )
    with _Player(model, memory) as player:
        for index, path in enumerate(sequence.frames):
            result = player.show(read_frame(path), index)
            masks = {track.object_id: track.mask for track in result.tracks}
            annotation, counted = sequence.masks(path.stem), sequence.scored(path.stem)
            for object_id, one in zip(truth, runs, strict=True):
                if counted is None or object_id in counted:
                    one.score(index, masks, annotation.get(object_id, np.zeros(result.image.shape[:2], bool)))
                one.ask(index, player)
            progress()
    return [score for one in runs for score in one.scores(sequence.name)]


class _Run:
    """One object of a video, followed under several ids.

    Args:
        mask: of the object in the first image.
        ages: when the late prompts come.
        kind: of prompt.
        offset: the ids begin after this one.
    """

    def __init__(self, mask: BoolMask, ages: Sequence[int], kind: str, offset: int) -> None:
        self._mask, self._kind, self._at_once = mask, kind, offset + 1
        self._late = {age: (offset + 2 + 2 * i, offset + 3 + 2 * i) for i, age in enumerate(ages)}
        self._seconds: dict[int, float] = {}
        self._found: dict[tuple[int, int], list[Score]] = {}
        self.last_id = offset + 1 + 2 * len(ages)

    def ask(self, index: int, player: _Player) -> None:
        """Give the prompts that are due once image number `index` has been shown."""
        if index == 0:
            player.ask(make_prompt(self._at_once, self._mask, self._kind), 0)
        if index in self._late:
            stamped, unstamped = self._late[index]
            begin = time.perf_counter()
            player.ask(make_prompt(stamped, self._mask, self._kind), 0)
            self._seconds[index] = time.perf_counter() - begin
            player.ask(make_prompt(unstamped, self._mask, self._kind), None)

    def score(self, index: int, masks: dict[int, BoolMask], truth: BoolMask) -> None:
        """Note how well image number `index` went."""
        due = [(age, ids) for age, ids in self._late.items() if index > age]
        known = {
            object_id: Score(
                region_similarity(masks[object_id], truth), boundary_measure(masks[object_id], truth)
            )
            for object_id in {i for _, ids in due for i in (self._at_once, *ids)}
        }
        for age, ids in due:
            for object_id in (self._at_once, *ids):
                self._found.setdefault((age, object_id), []).append(known[object_id])

    def scores(self, sequence: str) -> list[LateScore]:
        """The means, for every age that the video reaches."""
        results = []
        for age, ids in self._late.items():
            if (age, self._at_once) in self._found:
                at_once, stamped, unstamped = (self._found[age, i] for i in (self._at_once, *ids))
                means = [Score.mean(found).jf for found in (at_once, stamped, unstamped)]
                results.append(_late_score(sequence, age, len(at_once), [*means, self._seconds[age]]))
        return results


class _Player:
    """A live tracker that gets every image when the one before has been processed, as from a camera whose
    rate the machine holds.
    """

    def __init__(self, model: SAM2, memory: MemoryConfig | None) -> None:
        self._live = LiveTracker(Tracker(model, memory))
        self._newest: LiveResult | None = None
        self._arrived = threading.Condition()
        self._live.on_result(self._keep)

    def __enter__(self) -> _Player:
        return self

    def __exit__(self, *error: object) -> None:
        self._live.close()

    def show(self, image: NDArray[np.uint8], index: int) -> LiveResult:
        """Hand over image number `index`, wait for its result.

        Raises:
            RuntimeError: it could not be processed; the log says why.
        """
        with self._arrived:
            self._live.submit(image, self._stamp(index))
            while self._newest is None or self._newest.stamp != self._stamp(index):
                if not self._arrived.wait(LOOK_SECONDS) and self._live.statistics().dropped:
                    raise RuntimeError(f"image {index} could not be processed")
            return self._newest

    def ask(self, prompt: Prompt, index: int | None) -> None:
        """Prompt on image number `index`, None: on the newest; returns when the object is live."""
        self._live.prompt(prompt, None if index is None else self._stamp(index)).result()

    def _keep(self, result: LiveResult) -> None:
        with self._arrived:
            self._newest = result
            self._arrived.notify_all()

    @staticmethod
    def _stamp(index: int) -> int:
        return (index + 1) * PERIOD  # not from 0: that stamp may mean the newest image


def means(scores: list[LateScore]) -> list[LateScore]:
    """For each age the means over all scores of that age."""
    results = []
    for age in sorted({score.age for score in scores}):
        rows = [score for score in scores if score.age == age]
        values = [
            math.fsum(getattr(row, name) for row in rows) / len(rows)
            for name in ("at_once", "stamped", "unstamped", "seconds")
        ]
        results.append(_late_score("mean", age, sum(row.images for row in rows), values))
    return results


def heading(width: int) -> str:
    """What stands above the lines; `width` of the first column."""
    return f"{'sequence':{width}}  images old  images scored  at once  with stamp  without  live after (ms)"


def _late_score(sequence: str, age: int, images: int, values: list[float]) -> LateScore:
    at_once, stamped, unstamped, seconds = values
    return LateScore(sequence, age, images, at_once, stamped, unstamped, seconds)


def line(score: LateScore, width: int) -> str:
    """One score, J&F in percent; `width` of the first column."""
    return (
        f"{score.sequence:{width}}  {score.age:10}  {score.images:13}  {100 * score.at_once:7.1f}  "
        f"{100 * score.stamped:10.1f}  {100 * score.unstamped:7.1f}  {1000 * score.seconds:15.0f}"
    )

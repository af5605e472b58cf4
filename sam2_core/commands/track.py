"""`sam2 track`: follow objects through a video, a folder of pictures, a camera or a stream."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image_predictor import ImagePredictor
from ..masks import overlay
from ..outputs import BoxCsv, MaskFolder, Output, OverlayVideo, RunLengthJson
from ..paths import expanded
from ..prompt_script import Script, add_prompt_options, files_read, script_from_options
from ..prompts import Prompt, PromptError
from ..sources import FASTEST_FPS, SLOWEST_FPS, Frame, Source, open_source
from ..tracker import Track, Tracker
from ..window import ask_prompts
from .common import (
    CommandError,
    add_memory_options,
    add_model_options,
    check_outputs,
    from_zero,
    load,
    memory_config,
    positive,
)
from .image import segment

UNCERTAIN_FRAMES = 2
"""By so many frames a video's own count may be wrong without anything being amiss."""


@dataclass(frozen=True, eq=False)
class Guide:
    """Knows what to show in which frame.

    Attributes:
        script: the prompts given beforehand.
        drawn: frames in which a window asks for more.
        predictor: previews what is clicked on there.
        alpha: weight of the preview's colours.
    """

    script: Script
    drawn: set[int]
    predictor: ImagePredictor
    alpha: float

    def check(self, source: Source, tracker: Tracker) -> None:
        """Refuses what can't be followed, before hours are spent on the frames up to it.

        Raises:
            PromptError: naming the frame.
        """
        for number, prompts in self.script.items():
            if size := source.size(number):
                with _naming(number):
                    tracker.resolve(prompts, *size)

    def prompts(self, frame: Frame) -> list[Prompt]:
        """The frame's prompts; asks for them where a window was wished for."""
        given = self.script.get(frame.index, [])
        if frame.index not in self.drawn:
            return given
        self.predictor.set_image(frame.image)

        def preview(prompts: list[Prompt]) -> NDArray[np.uint8]:
            return overlay(frame.image, segment(self.predictor, prompts), self.alpha)

        clicked = ask_prompts(frame.image, f"frame {frame.index}", preview)
        if not clicked and not self.script and self.drawn == {0}:
            raise CommandError("no object was shown")
        taken = {prompt.object_id for prompt in clicked}
        return [*clicked, *(prompt for prompt in given if prompt.object_id not in taken)]


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "track",
        help="follow objects through a video or camera",
        description="Follow objects through a video. Show each object by points, a box or a mask, in any "
        "frame; a prompt in a later frame corrects the object. Without any a window opens on the first "
        "frame, in which one clicks on them. Ctrl-C ends early and leaves complete files.",
        epilog="example: sam2 track clip.mp4 --object 1 --point 120,80 --object 2 --box 10,20,90,110 "
        "--frame 40 --object 1 --point 130,85 --point 60,60,0",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a video file, a folder of pictures, a camera's number, or an rtsp:// or http:// address",
    )
    add_prompt_options(parser)
    parser.add_argument(
        "--draw",
        nargs="+",
        type=from_zero,
        metavar="N",
        help="open a window in these frames, to click on objects",
    )
    outputs = parser.add_argument_group("outputs", "without any: the overlay video, as NAME_sam2.mp4")
    outputs.add_argument(
        "-o", "--output", type=expanded, metavar="FILE", help="overlay video: .mp4, .mkv, .mov or .avi"
    )
    outputs.add_argument(
        "--masks", type=expanded, metavar="DIR", help="a PNG per frame, indexed, in the DAVIS palette"
    )
    outputs.add_argument("--json", type=expanded, metavar="FILE", help="COCO results with run-length codes")
    outputs.add_argument(
        "--boxes", type=expanded, metavar="FILE", help="boxes as CSV in MOTChallenge's format"
    )
    outputs.add_argument(
        "--alpha", type=float, default=0.5, help="weight of the overlay's colours; default: %(default)s"
    )
    outputs.add_argument(
        "--fps", type=float, help="frames per second of the overlay video; default: the source's"
    )
    parser.add_argument("--max-frames", type=positive, metavar="N", help="stop after so many frames")
    add_model_options(parser)
    add_memory_options(parser)
    parser.set_defaults(run=run, script=None)


def run(options: argparse.Namespace) -> None:
    """Tracks to the end of the source, of --max-frames, or to Ctrl-C."""
    from ..window import WITHOUT_PROMPTS, require_display

    script = script_from_options(options.script, options.prompts)
    drawn = set(options.draw or ([] if script else [0]))
    if drawn:
        require_display(WITHOUT_PROMPTS)
    if not 0 <= options.alpha <= 1:
        raise CommandError(f"--alpha {options.alpha} is not between 0 and 1")
    if options.fps is not None and not SLOWEST_FPS <= options.fps <= FASTEST_FPS:
        raise CommandError(f"--fps {options.fps:g} is not between {SLOWEST_FPS} and {FASTEST_FPS}")
    source = open_source(options.source)
    try:
        _check_outputs(options, source)
        model = load(options)
        tracker = Tracker(model, memory_config(options, model))
        guide = Guide(script, drawn, ImagePredictor(tracker.model), options.alpha)
        guide.check(source, tracker)
        with ExitStack() as stack:
            outputs = _open_outputs(options, source)
            for output in outputs:
                stack.callback(output.close)
            frames = _track(source, tracker, guide, outputs, options.max_frames)
    finally:
        source.close()
    if late := sorted(frame for frame in {*script, *drawn} if frame >= frames):
        print(
            f"sam2 track: nothing was shown in frame {late[0]}, there were only {frames} frames",
            file=sys.stderr,
        )


def _check_outputs(options: argparse.Namespace, source: Source) -> None:
    """Names the overlay video where nothing is asked for; refuses outputs that would destroy something."""
    if not (options.output or options.masks or options.json or options.boxes):
        options.output = Path(f"{source.name}_sam2.mp4")
    files = {"--output": options.output, "--json": options.json, "--boxes": options.boxes}
    check_outputs(files, {"--masks": options.masks}, [options.source, *files_read(options)])
    if options.masks and any(options.masks.glob("*.png")):
        print(
            f"sam2 track: {options.masks} holds masks already; those of frames not reached now will stay",
            file=sys.stderr,
        )


def _open_outputs(options: argparse.Namespace, source: Source) -> list[Output]:
    outputs: list[Output] = []
    if options.output:
        outputs.append(OverlayVideo(options.output, options.fps or source.fps, options.alpha))
    if options.masks:
        outputs.append(MaskFolder(options.masks))
    if options.json:
        outputs.append(RunLengthJson(options.json))
    if options.boxes:
        outputs.append(BoxCsv(options.boxes))
    return outputs


def _track(
    source: Source, tracker: Tracker, guide: Guide, outputs: list[Output], max_frames: int | None
) -> int:
    """Returns the number of frames done."""
    from tqdm import tqdm

    total = min((n for n in (source.total, max_frames) if n is not None), default=None)
    done = 0
    with (
        _stop_on_signal() as stopped,
        tqdm(total=total, unit="frame", desc=source.name, mininterval=0.5) as bar,
    ):
        for frame in source:
            prompts = guide.prompts(frame)
            tracks: list[Track] = []
            if prompts or tracker.object_ids:  # before the first prompt there is nothing to compute
                with _naming(frame.index):
                    tracks = tracker.step(frame.image, prompts)
            for output in outputs:
                output.write(frame, tracks)
            done += 1
            bar.update()
            bar.set_postfix_str(
                f"{sum(track.visible for track in tracks)} of {len(tracks)} objects", refresh=False
            )
            if stopped or done == max_frames:
                break
    if stopped:
        print(f"sam2 track: stopped after {done} frames; the files are complete", file=sys.stderr)
    elif total is not None and done + UNCERTAIN_FRAMES < total:
        print(f"sam2 track: the video ended after {done} of {total} frames: is it damaged?", file=sys.stderr)
    return done


@contextmanager
def _naming(frame: int) -> Iterator[None]:
    """Puts the frame's number before what a refused prompt says."""
    try:
        yield
    except PromptError as error:
        raise PromptError(f"frame {frame}: {error}") from error


@contextmanager
def _stop_on_signal() -> Iterator[list[int]]:
    """Ctrl-C, a polite kill or a closed terminal fills the list instead of interrupting a write; the second
    one interrupts.
    """
    received: list[int] = []

    def note(number: int, _frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    ending = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else nohup is to keep it running
        ending.append(signal.SIGHUP)
    previous = {number: signal.signal(number, note) for number in ending}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

"""What happens in a soak run: one cycle of a camera's misbehaviour and of a person's requests.

It is drawn at random once and then repeated, so that any two stretches of the run carry the same load.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import cv2
import numpy as np
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from ros_graph import image_message
from scene import blue_box, draw, red_box

from sam2_ros.interfaces import Prompt

CYCLE = 125
"""Beats of the camera until everything repeats."""

SIZES = ((320, 240), (424, 240), (240, 320))
"""Width and height of the images, pixels; they change every `BEATS_PER_SIZE` beats."""
BEATS_PER_SIZE = 25

SCENES = 50
"""The squares of the scene move to and fro over so many images; where they meet, one hides the other."""

IMAGES = {"show": 75, "drop": 5, "duplicate": 5, "delay": 15}
"""What becomes of an image, and how often of 100 times. A delayed one is published after newer ones, with its
own stamp, so that stamps run backwards."""
DELAY_BEATS = 3

BEATS_PER_REQUEST = 5
DISCOVER = 100
"""At this beat of a cycle the node is asked to find objects by itself."""
OBJECTS = 4
LATE_IMAGES = (2, 8)
"""A stamped click means an image that so many others have followed."""


@dataclass(frozen=True)
class Request:
    """What a person asks for.

    Attributes:
        verb: add, correct, remove, reset, discover, or `refused`: a request that has to be refused.
        object_id: of the object meant.
        form: of the prompt: box, point or mask.
        square: the object pointed at, red or blue.
        late: the images since the one that is pointed at; 0: no stamp, the newest is meant.
    """

    verb: str
    object_id: int = 0
    form: str = "box"
    square: str = "red"
    late: int = 0


@dataclass(frozen=True)
class Beat:
    """One beat of the camera.

    Attributes:
        size: width and height of its image.
        image: what becomes of it, see `IMAGES`.
        request: what is asked for right after it, or None.
    """

    size: tuple[int, int]
    image: str
    request: Request | None


@dataclass(frozen=True)
class Shown:
    """An image that was published.

    Attributes:
        beat: number of the beat.
        stamp: nanoseconds.
        size: width and height, pixels.
    """

    beat: int
    stamp: int
    size: tuple[int, int]

    @property
    def scene(self) -> int:
        """Number of the scene that the camera saw: to and fro."""
        phase = self.beat % (2 * SCENES)
        return phase if phase < SCENES else 2 * SCENES - 1 - phase


def make_cycle(seed: int) -> list[Beat]:
    """The beats of one cycle; it begins with a reset."""
    rng = random.Random(seed)
    known: set[int] = set()
    beats = []
    for number in range(CYCLE):
        size = SIZES[number // BEATS_PER_SIZE % len(SIZES)]
        image = rng.choices(list(IMAGES), list(IMAGES.values()))[0]
        request = None
        if number == 0:
            request = Request("reset")
        elif number == DISCOVER:
            request = Request("discover")
        elif number % BEATS_PER_REQUEST == 0:
            request = _draw_request(rng, known)
        beats.append(Beat(size, image, request))
    return beats


def _draw_request(rng: random.Random, known: set[int]) -> Request:
    """A request that fits the objects known at that point of the cycle; updates them."""
    free = [i for i in range(1, OBJECTS + 1) if i not in known]
    chances = {
        "add": 4 if free else 0,
        "correct": 4 if known else 0,
        "remove": 2 if len(known) > 1 else 0,
        "refused": 1,
    }
    verb = rng.choices(list(chances), list(chances.values()))[0]
    form, square = rng.choice(["box", "point", "mask"]), rng.choice(["red", "blue"])
    late = rng.choice([0, rng.randint(*LATE_IMAGES)])
    if verb == "add":
        known.add(free[0])
        return Request(verb, free[0], form, square, late)
    if verb == "correct":
        return Request(verb, rng.choice(sorted(known)), form, square, late)
    if verb == "remove":
        gone = rng.choice(sorted(known))
        known.remove(gone)
        return Request(verb, gone)
    return Request(verb)


def render() -> dict[tuple[int, tuple[int, int]], NDArray[np.uint8]]:
    """Every image of the run, uint8 RGB, by scene and size."""
    return {
        (scene, size): np.asarray(cv2.resize(draw(scene), size), np.uint8)
        for scene in range(SCENES)
        for size in SIZES
    }


def prompt_of(request: Request, shown: Shown) -> Prompt.Request:
    """The service request that points at a square of an image."""
    width, height = shown.size
    scale = np.array([width / 320, height / 240] * 2)
    box = np.array((red_box if request.square == "red" else blue_box)(shown.scene)) * scale
    message = Prompt.Request(object_id=request.object_id)
    if request.late:
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(shown.stamp, 1_000_000_000)
    if request.form == "box":
        message.box = [float(value) for value in box]
    elif request.form == "point":
        message.points = [Point(x=float(box[0] + box[2]) / 2, y=float(box[1] + box[3]) / 2)]
    else:
        mask = np.zeros((height, width), np.uint8)
        x_min, y_min, x_max, y_max = box.astype(int)
        mask[y_min:y_max, x_min:x_max] = 255
        message.mask = image_message(mask, 0, "mono8")
    return message

"""Short clips from photographs (the way of STM, STCN and XMem, with its weak spots covered) and real video.

A clip is a background, a photo that moves as a camera would or video, with up to four objects that move on
their own: the ones to follow, some of them made of two things, distractors (among them look-alikes of
another), and occluders. Objects leave the picture, are hidden, vanish and return, so that the model learns
when there is nothing to find.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from training.cutouts import CutOut, cut_out, extent, look_alike
from training.motion import CAMERA_PACE, OBJECT_PACE, Pace, Path, frame_patch, random_path
from training.photometry import film, recolour
from training.photos import PhotoStore, Video
from training.sprites import Sprite, draw, join

BACKGROUND_OBJECTS = 3
"""The numbers 1 to this one are those of the background's own objects; pasted ones follow."""

TURNING_ZOOM = 2.0
"""A camera that turns away must see less than the whole picture."""

LONGEST_ABSENCE = 16
"""A film goes on for fewer steps than this while nobody looks at it."""

SMALLEST_START = 0.003
"""An object must cover this share of frame 0 to be followed."""


@dataclass(frozen=True)
class Clip:
    """T frames and the objects in them.

    Attributes:
        frames: uint8 RGB (T, S, S, 3).
        labels: uint8 (T, S, S): number of the object that a pixel shows, 0 for none.
        objects: Numbers of the objects that can be followed: they are visible in frame 0. That of a labelled
            video comes first.
    """

    frames: np.ndarray
    labels: np.ndarray
    objects: list[int]


@dataclass(frozen=True)
class ClipSettings:
    """What clips are made of.

    Attributes:
        frames: T.
        size: S, pixels.
        labelled: Share of clips whose background is real video with an object of its own, where there is any.
        whole: Share of the others whose background is a photo with an object of its own.
        scenes: Share of these photos that have several objects, of which up to three can be followed.
        video: Share of the rest whose background is real video without known objects, where there is any.
        moving: Share of pasted objects that come from labelled video and move as they do there.
        extra: Chances of a second, third and fourth pasted object; of a first, second and third where the
            background has an object.
        joined: Chance that a pasted object and the one before are two parts of one, as rider and bicycle are.
        copy: Chance that another pasted object looks like the one before, or like the background's own.
        absence: Chance that an object goes away for some frames, of the background's and of the pasted ones.
    """

    frames: int
    size: int
    labelled: float = 0.4
    whole: float = 0.45
    scenes: float = 0.3
    video: float = 0.25
    moving: float = 0.2
    extra: tuple[float, ...] = (0.6, 0.35, 0.15)
    joined: float = 0.3
    copy: float = 0.5
    absence: float = 0.35


def _frame_steps(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Which steps of a longer walk the frames show: random gaps, as a slow tracker would see them."""
    most = rng.choice([1, 2, 4, 8], p=[0.4, 0.3, 0.2, 0.1])
    return np.concatenate([[0], np.cumsum(rng.integers(1, most + 1, frames - 1))])


def _sampled(path: Path, steps: np.ndarray) -> Path:
    return Path(path.position[steps], path.linear[steps], path.bend[steps])


def _turned(angle: float, factor: float) -> np.ndarray:
    """The matrix (2, 2) that turns by an angle in radians and enlarges by a factor."""
    return factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _share_away(t: int, first: int, last: int) -> float:
    """How far something has gone, 0 to 1, that is away in the frames from `first` until before `last`."""
    return {0: 1.0, 1: 0.45}.get(max(first - t, t - last + 1, 0), 0.0)


def _turn(
    rng: np.random.Generator, masks: list[np.ndarray], first: int, last: int, zoom: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Where in the picture a camera looks at the objects at first, and in which corner it then sees none.

    Args:
        rng: Source of randomness.
        masks: uint8 (S, S), objects of every frame.
        first: First frame in which none is to be in sight.
        last: First frame after that.
        zoom: The camera sees 1 / zoom of the picture's width.

    Returns: Two places in 0 to 1, (x, y); None if there is no such corner, or no object in the first frame.
    """
    if not masks[0].any():
        return None
    size, half = len(masks[0]), 0.5 / zoom
    x_min, y_min, x_max, y_max = extent(masks[0])
    towards = np.array([(x_min + x_max) / 2, (y_min + y_max) / 2]).clip(half, 1 - half)
    for corner in rng.permutation(4):
        x, y = away = np.where([corner % 2, corner // 2], 1 - half, half)
        rows, columns = (slice(int((c - half) * size), int((c + half) * size) + 1) for c in (y, x))
        if not any(mask[rows, columns].any() for mask in masks[first:last]):
            return towards, away
    return None


class ClipMaker:
    """Makes clips; the same seed gives the same clip."""

    def __init__(self, store: PhotoStore, settings: ClipSettings) -> None:
        """Bind photos and settings."""
        self.store = store
        self.settings = settings

    def make(self, seed: int) -> Clip:
        """Make the clip of a seed.

        Raises:
            RuntimeError: No clip with a visible object came about: the photos hold no usable masks.
        """
        rng = np.random.default_rng(seed)
        for _ in range(30):
            clip = self._try(rng)
            if clip.objects:
                return clip
        raise RuntimeError("no clip with a visible object in 30 tries: check the prepared label maps")

    def _try(self, rng: np.random.Generator) -> Clip:
        settings = self.settings
        steps = filmed = _frame_steps(rng, settings.frames)
        pace = float(rng.choice([0.3, 0.8, 1.5, 2.6], p=[0.15, 0.35, 0.35, 0.15]))
        labelled = bool(self.store.labelled_videos) and rng.random() < settings.labelled
        whole = not labelled and rng.random() < settings.whole
        away = turned = None
        if (labelled or whole) and settings.frames > 3 and rng.random() < settings.absence:
            away = self._away(rng)
            filmed = steps + rng.integers(LONGEST_ABSENCE) * (np.arange(settings.frames) >= away[1])
            turned = away if rng.random() < 0.75 else None
        if labelled:
            frames, labels, own = self._film(rng, filmed, pace, turned)
        else:
            frames, labels, own = self._background(rng, filmed, pace, whole, turned)
        if away and not turned:
            self._cut_away(rng, frames, labels, *away)
        sprites = self._sprites(rng, steps, pace, labelled or whole, own)
        layers = [sprites[n] for n in rng.permutation(len(sprites))]
        for t in range(settings.frames):
            for sprite in layers:
                if t not in sprite.hidden:
                    draw(sprite, t, self.store.size, frames[t], labels[t])
        area = np.bincount(labels[0].ravel(), minlength=10) / labels[0].size
        objects = [n for n in range(1, len(area)) if area[n] >= SMALLEST_START]
        rng.shuffle(objects)
        if labelled:
            objects.sort(key=lambda n: n > 1)
        return Clip(film(rng, frames), labels, objects)

    def _background(
        self,
        rng: np.random.Generator,
        steps: np.ndarray,
        pace: float,
        whole: bool,
        turned: tuple[int, int] | None,
    ) -> tuple[np.ndarray, np.ndarray, CutOut | None]:
        """Frames and labels of what lies behind the pasted objects, and its first object cut out.

        Its own objects are numbered from 1.
        """
        store = self.store
        if not whole and store.videos and rng.random() < self.settings.video:
            pictures = [store.frame(n) for n in self._numbers(rng, store.videos, steps)]
            return *self._move(rng, steps, pictures, None, CAMERA_PACE.times(0.15 * pace), 0.0), None
        scene = whole and rng.random() < self.settings.scenes
        position = store.draw_scene(rng) if scene else store.draw(rng)
        pictures, masks = [store.image(position)], None
        if scene:
            masks = [store.object_masks(position, BACKGROUND_OBJECTS, rng)]
        elif whole:
            masks = [store.object_mask(position, rng)]
        own = self._cut_first(pictures, masks) if masks else None
        pictures, masks = pictures * len(steps), masks and masks * len(steps)
        camera = OBJECT_PACE.times(0.8 * pace) if whole else CAMERA_PACE.times(pace)
        return *self._move(rng, steps, pictures, masks, camera, 0.06, turned), own

    def _film(
        self, rng: np.random.Generator, steps: np.ndarray, pace: float, turned: tuple[int, int] | None
    ) -> tuple[np.ndarray, np.ndarray, CutOut | None]:
        """Frames and labels of a labelled video, and its object cut out; the object has the number 1."""
        numbers = self._numbers(rng, self.store.labelled_videos, steps)
        pictures = [self.store.frame(n) for n in numbers]
        masks = [self.store.frame_labels(n) for n in numbers]
        camera = CAMERA_PACE.times(0.4 * pace)
        own = self._cut_first(pictures, masks)
        return *self._move(rng, steps, pictures, masks, camera, 0.04, turned), own

    @staticmethod
    def _cut_first(pictures: list[np.ndarray], masks: list[np.ndarray]) -> CutOut | None:
        """Cut out object 1; None where it is too small in some picture."""
        firsts = [(mask == 1).astype(np.uint8) for mask in masks]
        if min(int(mask.sum()) for mask in firsts) < SMALLEST_START * masks[0].size:
            return None
        return cut_out(pictures, firsts)

    def _numbers(self, rng: np.random.Generator, videos: list[Video], steps: np.ndarray) -> list[int]:
        """Which frames of a video drawn at random are shown, forwards or backwards."""
        video = videos[rng.integers(len(videos))]
        first = int(rng.integers(video.start, max(video.start + 1, video.end - steps[-1])))
        if rng.random() < 0.5:
            steps = steps[-1] - steps
        return [min(first + int(step), video.end - 1) for step in steps]

    def _move(
        self,
        rng: np.random.Generator,
        steps: np.ndarray,
        pictures: list[np.ndarray],
        masks: list[np.ndarray] | None,
        camera: Pace,
        tilt: float,
        turned: tuple[int, int] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Film pictures and masks of the size of the store with a camera of its own motion.

        From frame `turned[0]` until before `turned[1]` it looks away from the objects, where the picture has
        room for that.
        """
        size, count = self.settings.size, len(steps)
        labels = np.zeros((count, size, size), np.uint8)
        frames = np.empty((count, size, size, 3), np.uint8)
        if rng.random() < 0.5:
            pictures = [np.ascontiguousarray(picture[:, ::-1]) for picture in pictures]
            masks = masks and [np.ascontiguousarray(mask[:, ::-1]) for mask in masks]
        zoom = float(np.exp(rng.uniform(0.0, 0.35)))
        first, last = turned or (count, count)
        turn = _turn(rng, masks, first, last, TURNING_ZOOM * zoom) if turned and masks else None
        if turn is not None:
            zoom *= TURNING_ZOOM
        path = _sampled(random_path(rng, int(steps[-1]) + 1, camera, (0.5, 0.5), zoom, tilt), steps)
        if turn is not None:
            for t in range(count):
                centre = turn[0] + _share_away(t, first, last) * (turn[1] - turn[0])
                path.position[t] -= path.linear[t] @ (centre - 0.5)
        for t, picture in enumerate(pictures):
            patch = frame_patch(path, t, (0, 0, 1, 1), self.store.size, size, whole=True)
            maps = patch.map_x, patch.map_y
            border = cv2.BORDER_REFLECT_101
            frames[t] = cv2.remap(picture, *maps, cv2.INTER_LINEAR, borderMode=border)
            if masks is not None:
                labels[t] = cv2.remap(masks[t], *maps, cv2.INTER_NEAREST, borderMode=border)
        return frames, labels

    def _cut_away(
        self, rng: np.random.Generator, frames: np.ndarray, labels: np.ndarray, first: int, last: int
    ) -> None:
        """Show another scene for some frames, as a cut or a camera that looked away would."""
        other = self.store.image(self.store.draw(rng))
        frames[first:last] = cv2.resize(other, frames.shape[1:3], interpolation=cv2.INTER_AREA)
        labels[first:last] = 0

    def _away(self, rng: np.random.Generator) -> tuple[int, int]:
        """First frame of an absence and the first after it; it may last to the end."""
        count = self.settings.frames
        first = int(rng.integers(1, count))
        return first, int(rng.integers(first + 1, count + 1))

    def _sprites(
        self, rng: np.random.Generator, steps: np.ndarray, pace: float, whole: bool, own: CutOut | None
    ) -> list[Sprite]:
        count = (0 if whole else 1) + sum(int(rng.random() < chance) for chance in self.settings.extra)
        sprites: list[Sprite] = []
        for _ in range(count):
            original = sprites[-1].cut_out if sprites else own
            shown = self._cut_out(rng, steps)
            number = BACKGROUND_OBJECTS + 1 + len(sprites)
            if sprites and rng.random() < self.settings.joined:
                number = sprites[-1].number
            elif original is not None and rng.random() < self.settings.copy:
                shown = look_alike(rng, original, shown)
            elif rng.random() < 0.5:
                shown = shown.with_shades(recolour(rng, shown.shades, 0.6))
            sprites.append(Sprite(number, shown, self._way(rng, steps, pace, shown.extent), set()))
        if sprites and len(steps) > 2 and rng.random() < self.settings.absence:
            self._send_away(rng, sprites)
        for first, second in pairwise(sprites):
            if first.number == second.number:
                join(rng, first, second)
        return sprites

    @staticmethod
    def _way(rng: np.random.Generator, steps: np.ndarray, pace: float, size: tuple[float, float]) -> Path:
        """Place an object of a width and height, and let it move."""
        wanted = np.exp(rng.uniform(np.log(0.13), np.log(0.75)))
        scale = float(min(wanted / np.sqrt(size[0] * size[1]), 2.2, 1.3 / max(size)))
        start = (float(rng.uniform(0.12, 0.88)), float(rng.uniform(0.15, 0.85)))
        own = OBJECT_PACE.times(pace * float(np.exp(rng.normal(0, 0.4))))
        return _sampled(random_path(rng, int(steps[-1]) + 1, own, start, scale), steps)

    def _cut_out(self, rng: np.random.Generator, steps: np.ndarray) -> CutOut:
        """An object of a photo (one picture), or of a labelled video (one picture a frame)."""
        store = self.store
        if store.labelled_videos and rng.random() < self.settings.moving:
            numbers = self._numbers(rng, store.labelled_videos, steps)
            pictures, masks = [store.frame(n) for n in numbers], [store.frame_labels(n) for n in numbers]
            moving = self._cut_first(pictures, masks)
            if moving is not None:
                return moving
        position = store.draw(rng)
        return cut_out([store.image(position)], [store.object_mask(position, rng)])

    def _send_away(self, rng: np.random.Generator, sprites: list[Sprite]) -> None:
        """Let an object vanish, leave over the picture's edge, or be covered by another for some frames.

        It comes back turned, and larger or smaller.
        """
        first, last = self._away(rng)
        sprite = sprites[0]
        changed = _turned(rng.normal(0, 0.3), np.exp(rng.normal(0, 0.3)))
        sprite.path.linear[last:] = changed @ sprite.path.linear[last:]
        kind = rng.choice(["vanish", "leave", "covered"], p=[0.25, 0.4, 0.35])
        if kind == "covered" and len(sprites) > 1:
            cover = sprites[-1]
            factor = 1.15 * max(sprite.cut_out.extent) / min(cover.cut_out.extent)
            side = rng.choice([-1.0, 1.0]) * rng.uniform(0.25, 0.5)
            for t in range(len(sprite.path.position)):
                away = max(first - t, t - last + 1, 0)
                drift = np.array([side * away * (1 if t < first else -1), 0.04 * away])
                cover.path.position[t] = sprite.path.position[t] + drift
                cover.path.linear[t] = factor * sprite.path.linear[t]
        elif kind == "leave":
            out = rng.normal(0, 1, 2)
            out = out / np.abs(out).max() * rng.uniform(0.9, 1.3)
            for t in range(len(sprite.path.position)):
                sprite.path.position[t] += _share_away(t, first, last) * out
        else:
            sprite.hidden = set(range(first, last))

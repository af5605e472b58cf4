"""Finished clips, under the verbs of SAM 2's video predictor, for code that was written against it.

Where images come one after another, `Tracker` is the way: it needs no clip, and its memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .clip import Clip, Picture
from .clip_state import Answer, ClipObject, ClipState, ClipTracker
from .masks import without_small_pieces
from .memory import MemoryBank
from .model import SAM2
from .model.sam2 import ABSENT_LOGIT
from .preprocessing import enlarge
from .prompts import Prompt, PromptError, as_array, as_numbers
from .tracker import ImageFeatures, ObjectState

ClipOutput = tuple[int, list[Hashable], Tensor]
"""Number of the frame, object ids in the order in which they came, mask logits (N, 1, H, W)."""

LEAST_LOGIT = -10.0
"""Where another object has the pixel, logits are at most this (SAM 2's constant)."""


class VideoPredictor:
    """Prompts on any frame of a clip, propagation forwards and backwards from any frame.

    Names, arguments and results are those of the original's `SAM2VideoPredictor` (sam2 1.1.0), and so are the
    numbers, on the same frames, with the memory kept in float32. As there, the memory keeps every frame, so
    that it grows with the clip, and pointer positions are divided by one less than the number of frames, at
    most 15. Object ids may be anything that can be the key of a dict; at most 255 objects.

    Args:
        model: from `load_model`.
        add_all_frames_to_correct_as_cond: a frame that is corrected after it was tracked counts as a prompted
            one from then on. False is the original's default: there the next propagation tracks such a frame
            anew, and the correction is gone.
        non_overlap_masks: where masks overlap in the output, the highest logit wins.
    """

    def __init__(
        self,
        model: SAM2,
        add_all_frames_to_correct_as_cond: bool = True,
        non_overlap_masks: bool = False,
    ) -> None:
        self.model = model
        self.add_all_frames_to_correct_as_cond = add_all_frames_to_correct_as_cond
        self.non_overlap_masks = non_overlap_masks

    def init_state(
        self,
        video_path: str | Path | Sequence[Picture],
        offload_video_to_cpu: bool = False,
        offload_state_to_cpu: bool = False,
        async_loading_frames: bool = False,
    ) -> ClipState:
        """Open a clip.

        Args:
            video_path: a video file, a folder of pictures, or a list of uint8 RGB arrays (H, W, 3).
            offload_video_to_cpu: without effect, frames lie in the CPU's memory in any case.
            offload_state_to_cpu: keep memories and masks in the CPU's memory; slower, and room on a GPU.
            async_loading_frames: without effect, pictures of a folder are read when they are asked for.

        Raises:
            SourceError: there is no such file or folder, or nothing in it can be read.
        """
        config = self.model.config
        clip = Clip(video_path, config.image_size, config.preprocessing.resize_clip)
        pointers = min(len(clip), config.memory.object_pointers)
        tracker = ClipTracker(
            self.model, replace(config.memory, object_pointers=pointers, policy="everything")
        )
        return ClipState(clip, tracker, torch.device("cpu") if offload_state_to_cpu else self.model.device)

    def add_new_points_or_box(
        self,
        inference_state: ClipState,
        frame_idx: int,
        obj_id: Hashable,
        points: Any = None,
        labels: Any = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
        box: Any = None,
    ) -> ClipOutput:
        """Show where an object is in a frame, or correct its mask there.

        Args:
            inference_state: from `init_state`.
            frame_idx: number of the frame, from 0.
            obj_id: a new id starts an object.
            points: (N, 2) pixels x, y of the video.
            labels: (N,), 1 on the object, 0 on the background.
            clear_old_points: forget what was said of this object in this frame; False: add to it.
            normalize_coords: points and box are pixels; False: shares of the video's width and height.
            box: (4,) x_min, y_min, x_max, y_max.

        Returns: the frame's number, all object ids, their mask logits in this frame (N, 1, H, W) at the
            video's size, -1024 for those that have none here.

        Raises:
            PromptError: the prompt can't be followed; nothing has changed.
        """
        state = inference_state
        if (points is None) != (labels is None):
            raise PromptError("points and labels come together: give one label for every point")
        if box is not None and not clear_old_points:
            raise PromptError("a box comes before any point: give it with clear_old_points=True")
        points = _numbers(points, "points", "N points (x, y)", 2)
        labels = _numbers(labels, "labels", "one label for every point", 1)
        box = _numbers(box, "box", "x_min, y_min, x_max, y_max", 1)
        Prompt(1, points=points, labels=labels, box=box)  # refuses what can be neither scaled nor added
        if not normalize_coords:
            size = state.clip.width, state.clip.height
            points = None if points is None else points * size
            box = None if box is None else box * (size * 2)
        said = self._object(state, obj_id).prompts.get(frame_idx)
        if said is not None and not clear_old_points:
            box = said.box
            if points is not None and said.points is not None:
                points, labels = np.concatenate((said.points, points)), np.concatenate((said.labels, labels))
        return self._prompt(state, frame_idx, obj_id, Prompt(1, points=points, labels=labels, box=box))

    def add_new_mask(
        self, inference_state: ClipState, frame_idx: int, obj_id: Hashable, mask: Any
    ) -> ClipOutput:
        """Take a mask as what the object is in a frame.

        Args:
            inference_state: from `init_state`.
            frame_idx: number of the frame, from 0.
            obj_id: a new id starts an object.
            mask: bool (H, W) of the video's size, or 0 and 1 in other numbers.

        Returns: as `add_new_points_or_box`.

        Raises:
            PromptError: the mask can't be followed; nothing has changed.
        """
        marked = _single(as_array(mask, "mask", "bool (H, W)"), 2)
        if marked.dtype not in (np.bool_, np.uint8):
            if not any(np.isin(marked, (0, on)).all() for on in (1, 255)):
                other = marked[~np.isin(marked, (0, 1))][0]
                raise PromptError(f"mask holds {other}, which is neither 0 nor 1: give mask > 0")
            marked = marked != 0
        return self._prompt(inference_state, frame_idx, obj_id, Prompt(1, mask=marked))

    def propagate_in_video(
        self,
        inference_state: ClipState,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
    ) -> Iterator[ClipOutput]:
        """Track all objects through the clip.

        Args:
            inference_state: from `init_state`.
            start_frame_idx: where to begin; None: at the first prompted frame.
            max_frame_num_to_track: how many frames beyond the first; None: to the end.
            reverse: towards the beginning of the clip; from frame 0 there is nothing to do.

        Yields: for every frame its number, all object ids, and mask logits (N, 1, H, W) at the video's size.

        Raises:
            RuntimeError: an object has no prompt.
        """
        state = inference_state
        self._commit(state)
        objects = dict(state.objects)
        last = len(state.clip) - 1
        start = start_frame_idx
        if start is None:
            start = min(frame for one in objects.values() for frame in one.prompted)
        _check_frame(state, start)
        reach = last if max_frame_num_to_track is None else max_frame_num_to_track
        if reverse:
            frames = range(start, max(start - reach, 0) - 1, -1) if start else range(0)
        else:
            frames = range(start, min(start + reach, last) + 1)
        for frame in frames:
            unknown = [one for one in objects.values() if frame not in one.prompted]
            if unknown:
                self._track(state, unknown, frame, reverse)
            for one in objects.values():
                one.directions[frame] = reverse
            yield frame, list(objects), self._masks(state, objects.values(), frame)

    def clear_all_prompts_in_frame(
        self, inference_state: ClipState, frame_idx: int, obj_id: Hashable, need_output: bool = True
    ) -> ClipOutput | None:
        """Take back what was said of an object in a frame; what it was tracked to there stays.

        Returns: as `add_new_points_or_box`; None without `need_output`.

        Raises:
            PromptError: the object or the frame is unknown.
        """
        state = inference_state
        _check_frame(state, frame_idx)
        if obj_id not in state.objects:
            raise PromptError(f"object {obj_id} is unknown: the known ids are {_known(state)}")
        one = state.objects[obj_id]
        one.prompts.pop(frame_idx, None)
        one.answers.pop(frame_idx, None)
        if frame_idx in one.prompted:
            entries = tuple(
                replace(entry, prompted=False) if entry.index == frame_idx else entry
                for entry in one.bank.entries
            )
            one.bank = MemoryBank(one.bank.config, entries)
            one.directions.pop(frame_idx, None)
        return self._output(state, frame_idx) if need_output else None

    def remove_object(
        self, inference_state: ClipState, obj_id: Hashable, strict: bool = False, need_output: bool = True
    ) -> tuple[list[Hashable], list[tuple[int, Tensor]]]:
        """Forget an object; the others are not touched.

        Args:
            inference_state: from `init_state`.
            obj_id: the object's id.
            strict: refuse an unknown id instead of passing over it.
            need_output: give the frames in which something had been said of the object anew.

        Returns: the ids that are left; pairs of frame and mask logits (N, 1, H, W) of what is left there.

        Raises:
            RuntimeError: `strict`, and the id is unknown.
        """
        state = inference_state
        if obj_id not in state.objects:
            if strict:
                raise RuntimeError(f"object {obj_id} is unknown: the known ids are {_known(state)}")
            return state.obj_ids, []
        gone = state.objects.pop(obj_id)
        if not state.objects or not need_output:
            return state.obj_ids, []
        return state.obj_ids, [(frame, self._output(state, frame)[2]) for frame in sorted(gone.prompts)]

    def reset_state(self, inference_state: ClipState) -> None:
        """Forget all objects; the clip stays open."""
        inference_state.objects.clear()

    def _object(self, state: ClipState, obj_id: Hashable) -> ClipObject:
        """The object of this id, or a new one, which is not among the known ones yet."""
        if not isinstance(obj_id, Hashable) or isinstance(obj_id, Tensor):  # a tensor equals no other one
            raise PromptError(f"object id {obj_id!r} is a {type(obj_id).__name__}: give a number or a text")
        known = state.objects.get(obj_id)
        if known is not None:
            return known
        taken = {one.key for one in state.objects.values()}
        if len(taken) == state.tracker.max_objects:
            raise PromptError(f"all {len(taken)} objects are in use: remove one first")
        key = next(key for key in range(1, len(taken) + 2) if key not in taken)
        return ClipObject(key, MemoryBank(state.tracker.memory))

    def _prompt(self, state: ClipState, frame: int, obj_id: Hashable, prompt: Prompt) -> ClipOutput:
        _check_frame(state, frame)
        one = self._object(state, obj_id)
        # A frame that the object was not tracked into answers by itself, as if the object began there.
        begins = frame not in one.directions
        reverse = one.directions.get(frame, False)
        bank = MemoryBank(state.tracker.memory) if begins else self._seen(state, one, frame, reverse)
        self._restore(state, one, frame, bank, one.newest_logits(frame))
        try:
            state.tracker.advance(
                self._features(state, frame), [], [replace(prompt, object_id=one.key)], frame, reverse
            )
            answer = self._taken(state, one)
        finally:
            state.tracker.reset()
        as_prompted = begins or self.add_all_frames_to_correct_as_cond
        one.answers[frame] = replace(answer, entry=replace(answer.entry, prompted=as_prompted))
        one.prompts[frame] = prompt
        state.objects[obj_id] = one
        return self._output(state, frame)

    def _commit(self, state: ClipState) -> None:
        """Makes the answers given since the last propagation part of the memory."""
        if not state.objects:
            raise RuntimeError("there is no object: add points, a box or a mask first")
        for obj_id, one in state.objects.items():
            for frame, answer in one.answers.items():
                if answer.entry.prompted or frame not in one.prompted:
                    one.take(frame, answer)
            one.answers.clear()
            if not one.prompted:
                raise RuntimeError(f"object {obj_id} has no prompt: add points, a box or a mask first")

    @torch.inference_mode()
    def _track(self, state: ClipState, objects: list[ClipObject], frame: int, reverse: bool) -> None:
        """Brings objects to a frame, together, and keeps what that leaves."""
        try:
            for one in objects:
                seen = self._seen(state, one, frame, reverse)
                in_sight = frame + (1 if reverse else -1) not in one.out_of_sight
                self._restore(state, one, frame, seen, next(iter(one.logits.values())), in_sight)
            state.tracker.advance(
                self._features(state, frame), [one.key for one in objects], index=frame, reverse=reverse
            )
            for one in objects:
                one.take(frame, self._taken(state, one))
        finally:
            state.tracker.reset()

    def _seen(self, state: ClipState, one: ClipObject, frame: int, reverse: bool) -> MemoryBank:
        """The part of an object's memory that a frame sees, where the model is."""
        spatial, pointers = one.bank.select(frame, reverse)
        entries = {entry.index: entry.to(self.model.device) for _, entry in (*spatial, *pointers)}
        return MemoryBank(one.bank.config, tuple(entries[index] for index in sorted(entries)))

    def _restore(
        self,
        state: ClipState,
        one: ClipObject,
        frame: int,
        bank: MemoryBank,
        logits: Tensor | None,
        in_sight: bool = True,
    ) -> None:
        """Lets the tracker know the object as it was when it came to a frame; without logits: not at all."""
        known = None
        if logits is not None:
            known = ObjectState("", bank, frame, logits.to(self.model.device), None, in_sight)
        state.tracker.restore(one.key, known)

    def _taken(self, state: ClipState, one: ClipObject) -> Answer:
        """What the tracker made of the object in the frame that it was just brought to."""
        result = state.tracker.snapshot()[one.key]
        entry, logits = result.bank.entries[-1].to(state.storage), result.logits.to(state.storage)
        return Answer(entry, logits, result.in_sight)

    def _features(self, state: ClipState, frame: int) -> ImageFeatures:
        """An encoded frame; the last one is kept for further prompts in it."""
        if state.encoded is None or state.encoded[0] != frame:
            features = state.tracker.encode(state.clip[frame])
            state.encoded = frame, replace(features, height=state.clip.height, width=state.clip.width)
        return state.encoded[1]

    def _output(self, state: ClipState, frame: int) -> ClipOutput:
        return frame, state.obj_ids, self._masks(state, state.objects.values(), frame)

    def _masks(self, state: ClipState, objects: Collection[ClipObject], frame: int) -> Tensor:
        """Mask logits of objects in a frame at the video's size (N, 1, H, W), `ABSENT_LOGIT` where one has
        none.
        """
        height, width, config = state.clip.height, state.clip.width, self.model.config
        masks = np.full((len(objects), 1, height, width), ABSENT_LOGIT, np.float32)
        for row, one in enumerate(objects):
            logits = one.newest_logits(frame)
            if logits is not None and one.in_sight(frame):
                low = logits[0, 0].float().cpu().numpy()
                if frame not in one.prompts:
                    low = without_small_pieces(low, config.smallest_piece)
                masks[row, 0] = enlarge(low, height, width, config.preprocessing)
        if self.non_overlap_masks and len(masks) > 1:
            loses = masks.argmax(axis=0) != np.arange(len(masks)).reshape(-1, 1, 1, 1)
            masks = np.where(loses, np.minimum(masks, LEAST_LOGIT), masks)
        return torch.from_numpy(masks).to(self.model.device)


def _check_frame(state: ClipState, frame: int) -> None:
    if isinstance(frame, bool) or not isinstance(frame, (int, np.integer)):
        raise PromptError(f"frame {frame!r} is not a whole number: give 0 to {len(state.clip) - 1}")
    if not 0 <= frame < len(state.clip):
        raise PromptError(f"frame {frame} is not in the clip: give 0 to {len(state.clip) - 1}")


def _known(state: ClipState) -> str:
    return ", ".join(map(str, state.objects)) or "none"


def _numbers(values: Any, what: str, form: str, ndim: int) -> NDArray[np.float64] | None:
    """Numbers as an array, or None."""
    return None if values is None else _single(as_numbers(values, what, form), ndim)


def _single(array: NDArray[Any], ndim: int) -> NDArray[Any]:
    """A batch of one, as the original takes it, loses its first dimension."""
    return array[0] if array.ndim == ndim + 1 and len(array) == 1 else array

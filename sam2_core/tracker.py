"""Tracker: segments and tracks objects in a stream of images, one image at a time, for ever."""

from __future__ import annotations

import reprlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .checks import check_number
from .configs import MemoryConfig
from .judgement import judge, prefer_expected
from .masks import mask_to_box, without_small_pieces
from .memory import MemoryBank
from .memory_entry import MemoryEntry, Selection
from .memory_policies import POLICIES
from .model import ABSENT_LOGIT, SAM2, MaskOutput, VisionFeatures
from .preprocessing import enlarge, mask_input, preprocess
from .prompts import MAX_OBJECT_ID, Prompt, PromptError, as_list, check_object_id
from .tracks import ImageFeatures, ObjectState, Track, state_bytes

PREVIOUS_LOGIT_LIMIT = 32.0
"""Logits that go back in as a mask prompt are clamped to this (SAM 2's constant)."""


class Tracker:
    """Tracks objects through a stream of images.

    Objects are added, corrected and removed at any time without touching one another; nothing grows with
    the length of the stream. Not thread-safe: see `LiveTracker` for streams with threads.

    Args:
        model: from `load_model`; several trackers may share one.
        memory: what to remember; None: the model's own settings.
        max_objects: how many objects there may be at once, 1 to 255.

    Raises:
        ValueError: the memory settings don't fit the model, or max_objects is out of range.
    """

    policies: Collection[str] = tuple(POLICIES)
    """Names of the memory policies that it may have."""

    def __init__(
        self, model: SAM2, memory: MemoryConfig | None = None, max_objects: int = MAX_OBJECT_ID
    ) -> None:
        self.model = model
        self.memory = memory or model.config.memory
        if (policy := self.memory.policy) not in self.policies:
            raise ValueError(
                f"memory policy {policy!r} is unknown here: choose from {', '.join(self.policies)}"
            )
        check_number("max_objects", max_objects, 1, MAX_OBJECT_ID, whole=True)
        self.max_objects = max_objects
        slots = model.config.memory_slots - 1
        if self.memory.memory_frames > slots:
            raise ValueError(
                f"memory_frames {self.memory.memory_frames} is more than this model was trained with: "
                f"give 0 to {slots}, or keep its own with "
                f"replace(model.config.memory, policy={self.memory.policy!r})"
            )
        self._policy = MemoryBank(self.memory).policy
        self._objects: dict[int, ObjectState] = {}
        self._index = -1

    def step(self, image: NDArray[np.uint8], prompts: Iterable[Prompt] = ()) -> list[Track]:
        """Process the next image of the stream.

        Args:
            image: uint8 RGB (H, W, 3); the size may change from image to image.
            prompts: at most one per object; see `Prompt`. A new id starts an object from this image alone;
                a known one is tracked into this image first, then corrected.

        Returns: a track for every known object, ordered by id, absent ones included.

        Raises:
            PromptError: a prompt can't be followed. Nothing has changed; call again with the same image.
            ValueError: the image is not uint8 RGB.
        """
        prompts = as_list(prompts, "prompts", "a list of Prompt")
        if prompts and isinstance(image, np.ndarray) and image.ndim == 3:  # refused before the costly part
            self.resolve(prompts, *image.shape[:2])
        return self.advance(self.encode(image), self.object_ids, prompts)

    @torch.inference_mode()
    def encode(self, image: NDArray[np.uint8]) -> ImageFeatures:
        """Encode an image: the part of a step that does not depend on any object.

        Args:
            image: uint8 RGB (H, W, 3).

        Raises:
            ValueError: the image is not uint8 RGB.
        """
        config = self.model.config
        tensor = preprocess(image, config.image_size, config.preprocessing, self.model.device)
        return ImageFeatures(self.model.encode_image(tensor), *image.shape[:2])

    @torch.inference_mode()
    def advance(
        self,
        features: ImageFeatures,
        object_ids: Sequence[int],
        prompts: Sequence[Prompt] = (),
        index: int | None = None,
        reverse: bool = False,
    ) -> list[Track]:
        """Bring objects to an encoded image.

        Args:
            features: from `encode`.
            object_ids: the known objects to bring there; those with a prompt come along in any case.
            prompts: as for `step`.
            index: number of the image; None: the next one of the stream. A number already used goes back to
                that image: for going back, restore the objects' states from before it first.
            reverse: the stream runs backwards.

        Returns: a track for each of these objects, ordered by id.

        Raises:
            PromptError: a prompt can't be followed, or an object is unknown. Nothing has changed.
        """
        asked = self.resolve(prompts, features.height, features.width)
        self._check_known(object_ids)
        now = self._index + 1 if index is None else index
        # what is not tracked into this image first: objects new here, given by a mask, or here already
        fresh = {
            i
            for i, prompt in asked.items()
            if i not in self._objects
            or prompt.restart
            or prompt.mask is not None
            or self._objects[i].index == now
        }
        tracked = [i for i in sorted({*object_ids, *asked}) if i not in fresh]
        states: dict[int, ObjectState] = {}
        results: dict[int, MaskOutput] = {}
        for group in self._groups(tracked, now, reverse):
            selections = [self._objects[i].bank.select(now, reverse) for i in group]
            embedding = self._look_up(features.vision, selections)
            output = self.model.decode(
                embedding,
                features.vision.high_resolution,
                several=self.model.wants_candidates(0, begins=False),
            )
            for row, object_id in enumerate(group):
                results[object_id] = prefer_expected(
                    self.model, _row(output, row), self._objects[object_id].motion, self._policy
                )
                if object_id in asked:
                    results[object_id] = self._answer(
                        features, asked[object_id], embedding[row : row + 1], output.logits[row : row + 1]
                    )
        for object_id in fresh:
            results[object_id] = self._prompted(features, object_id, asked[object_id], now, reverse)
        for prompted in (False, True):
            ids = [i for i in results if (i in asked) == prompted]
            states |= self._remember(features.vision, ids, results, asked, now, prompted)
        self._objects = dict(sorted({**self._objects, **states}.items()))
        if index is None:
            self._index = now
        return [self._track(i, results[i], features, prompted=i in asked) for i in sorted(results)]

    @property
    def object_ids(self) -> list[int]:
        """Ids of the known objects, ascending."""
        return list(self._objects)

    @property
    def index(self) -> int:
        """Number of the newest processed image; -1 before the first."""
        return self._index

    @property
    def memory_bytes(self) -> int:
        """Bytes of everything held for the objects; what they share counts once."""
        return state_bytes(self._objects.values())

    def remove(self, object_ids: Iterable[int]) -> None:
        """Forget objects; the others are not touched.

        Raises:
            PromptError: an id is unknown, or there is no list of them; none has been removed.
        """
        gone = [check_object_id(value) for value in as_list(object_ids, "object ids", "a list of ids")]
        self._check_known(gone)
        self._objects = {i: state for i, state in self._objects.items() if i not in gone}

    def reset(self) -> None:
        """Forget all objects."""
        self._objects = {}

    def snapshot(self) -> Mapping[int, ObjectState]:
        """The states of all objects as they are now; stays valid whatever comes."""
        return self._objects

    def restore(self, object_id: int, state: ObjectState | None) -> None:
        """Put one object back to an earlier state; None: it was not known then."""
        objects = {i: s for i, s in self._objects.items() if i != object_id}
        if state is not None:
            objects[object_id] = state
        self._objects = dict(sorted(objects.items()))

    def resolve(self, prompts: Sequence[Prompt], height: int, width: int) -> dict[int, Prompt]:
        """Check prompts against the image and the known objects, and give new objects their ids.

        Returns: the prompts by object id, in the same order.

        Raises:
            PromptError: see `Prompt.check_against`; two prompts for one object; too many objects; no
                `Prompt`.
        """
        for prompt in prompts:
            if not isinstance(prompt, Prompt):
                raise PromptError(f"prompt {reprlib.repr(prompt)} is no Prompt: give a list of Prompt")
        taken = {*self._objects, *(p.object_id for p in prompts if p.object_id is not None)}
        resolved: dict[int, Prompt] = {}
        for prompt in prompts:
            prompt.check_against(height, width)
            object_id = prompt.object_id
            if object_id is None:
                object_id = next((i for i in range(1, MAX_OBJECT_ID + 1) if i not in taken), None)
            if object_id is None:
                raise PromptError(f"all {MAX_OBJECT_ID} object ids are in use: remove an object first")
            if object_id in resolved:
                raise PromptError(
                    f"object {object_id} has two prompts in one image: put points and box into one prompt"
                )
            taken.add(object_id)
            resolved[object_id] = replace(prompt, object_id=object_id)
        new = resolved.keys() - self._objects.keys()
        if new and len(taken) > self.max_objects:
            about = f"{len(self._objects)} of at most {self.max_objects} objects are tracked"
            if len(new) > 1:
                about += f" and {len(new) - 1} more asked for"
            raise PromptError(f"{about}: remove one first, or raise max_objects")
        return resolved

    def _check_known(self, object_ids: Iterable[int]) -> None:
        for object_id in object_ids:
            if object_id not in self._objects:
                known = ", ".join(map(str, self._objects)) or "none"
                raise PromptError(f"object {object_id} is unknown: the known ids are {known}")

    def _groups(self, object_ids: list[int], now: int, reverse: bool) -> list[list[int]]:
        """Objects whose memories have the same form, so that they can run as one batch."""
        groups = defaultdict(list)
        for object_id in object_ids:
            spatial, pointers = self._objects[object_id].bank.select(now, reverse)
            groups[tuple(slot for slot, _ in spatial), len(pointers)].append(object_id)
        return list(groups.values())

    def _look_up(self, vision: VisionFeatures, selections: list[Selection]) -> Tensor:
        """The image conditioned on what each object of a group selected. Returns: (B, C, h, w)."""
        slots = [slot for slot, _ in selections[0].spatial]
        if not slots:
            return self.model.without_memory(vision).expand(len(selections), -1, -1, -1)
        memories = torch.stack([torch.stack([_spatial(e) for _, e in s.spatial]) for s in selections])
        appearance = None
        if self.model.config.appearance_keys:
            appearance = torch.stack(
                [torch.stack([_appearance(e) for _, e in s.spatial]) for s in selections]
            )
        if selections[0].pointers:
            pointers = torch.stack([torch.stack([e.pointer for _, e in s.pointers]) for s in selections])
        else:
            pointers = memories.new_zeros(len(selections), 0, self.model.config.channels)
        farthest = max(self.memory.object_pointers - 1, 1)
        distances = torch.tensor(
            [[distance / farthest for distance, _ in s.pointers] for s in selections],
            dtype=torch.float32,
            device=memories.device,
        )
        return self.model.condition_on_memory(vision, memories, appearance, slots, pointers, distances)

    def _prompted(
        self, features: ImageFeatures, object_id: int, prompt: Prompt, now: int, reverse: bool
    ) -> MaskOutput:
        """The result of a prompt for an object that is not tracked into this image first."""
        if prompt.mask is not None:
            mask = mask_input(prompt.mask, self.model.config.image_size, self.model.device)
            return self.model.from_mask(features.vision, mask)
        state = None if prompt.restart else self._objects.get(object_id)
        if state is None:
            return self._answer(features, prompt)
        selection = self._past(state.bank, now).select(now, reverse)
        embedding = self._look_up(features.vision, [selection])
        return self._answer(features, prompt, embedding, state.logits)

    def _past(self, bank: MemoryBank, now: int) -> MemoryBank:
        """What a further prompt in an image looks up: not what an earlier one left of the same image."""
        return MemoryBank(self.memory, tuple(entry for entry in bank.entries if entry.index != now))

    def _answer(
        self,
        features: ImageFeatures,
        prompt: Prompt,
        embedding: Tensor | None = None,
        previous: Tensor | None = None,
    ) -> MaskOutput:
        """Segment by points and box.

        Args:
            features: of the image.
            prompt: points, a box, or both.
            embedding: (1, C, h, w) the image conditioned on the object's past; None: the object begins here.
            previous: (1, 1, h, w) mask logits to be corrected, or None.
        """
        points, labels = prompt.as_points(features.height, features.width)
        size, device = self.model.config.image_size, self.model.device
        scaled = torch.from_numpy(points / (features.width, features.height) * size).float()[None].to(device)
        kinds = torch.from_numpy(labels)[None].to(device)
        begins = embedding is None
        if embedding is None:
            embedding = self.model.begin(features.vision, scaled, kinds)
        if previous is not None:
            previous = previous.clamp(-PREVIOUS_LOGIT_LIMIT, PREVIOUS_LOGIT_LIMIT)
        several = self.model.wants_candidates(len(points), begins)
        return self.model.decode(embedding, features.vision.high_resolution, scaled, kinds, previous, several)

    def _remember(
        self,
        vision: VisionFeatures,
        object_ids: list[int],
        results: dict[int, MaskOutput],
        asked: dict[int, Prompt],
        now: int,
        prompted: bool,
    ) -> dict[int, ObjectState]:
        """The objects' states after this image."""
        if not object_ids:
            return {}
        outputs = [results[i] for i in object_ids]
        logits = torch.cat([output.logits for output in outputs])
        presence_logits = torch.cat([output.presence_logit for output in outputs])
        memories = self.model.encode_memory(vision, logits, presence_logits, binarise=prompted)
        appearance = None if vision.appearance is None else vision.appearance[0]
        states = {}
        for row, (object_id, output) in enumerate(zip(object_ids, outputs, strict=True)):
            prompt, old = asked.get(object_id), self._objects.get(object_id)
            afresh = old is None or (prompt is not None and prompt.restart)
            bank = MemoryBank(self.memory) if afresh or old is None else old.bank
            judged = judge(output, None if afresh or old is None else old.motion, self._policy, prompted)
            quality, presence = float(output.quality[0]), float(output.presence_logit[0, 0].sigmoid())
            seen_before = afresh or old is None or old.in_sight
            in_sight = prompted or self.model.config.sight.holds(quality * presence, seen_before)
            entry = MemoryEntry(
                now,
                prompted,
                output.pointer[0].clone(),  # clones: a view would keep the whole batch alive
                memories[row].clone(),
                appearance,
                quality,
                presence,
                judged.area,
                judged.motion,
                judged.rivalry,
            )
            label = (prompt.label if prompt is not None else "") or (
                "" if afresh or old is None else old.label
            )
            states[object_id] = ObjectState(
                label, bank.with_entry(entry), now, output.logits.clone(), judged.track, in_sight
            )
        return states

    def _track(self, object_id: int, output: MaskOutput, features: ImageFeatures, prompted: bool) -> Track:
        state = self._objects[object_id]
        logits = output.logits[0, 0].float().cpu().numpy()
        if not state.in_sight:
            logits = np.full_like(logits, ABSENT_LOGIT)
        elif not prompted:
            logits = without_small_pieces(logits, self.model.config.smallest_piece)
        mask = enlarge(logits, features.height, features.width, self.model.config.preprocessing) > 0
        box = mask_to_box(mask)
        return Track(
            object_id,
            state.label,
            mask,
            box,
            float(output.quality[0]),
            float(output.presence_logit[0, 0].sigmoid()),
            box is not None,
            logits,
        )


def _row(output: MaskOutput, row: int) -> MaskOutput:
    """One object's part of a batch."""
    return MaskOutput(*(tensor[row : row + 1] for tensor in output))


def _spatial(entry: MemoryEntry) -> Tensor:
    assert entry.features is not None, "a policy selected an entry without a spatial memory"
    return entry.features


def _appearance(entry: MemoryEntry) -> Tensor:
    assert entry.appearance is not None, "the model has appearance keys, the entry has none"
    return entry.appearance

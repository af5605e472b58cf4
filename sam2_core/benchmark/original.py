"""The original `sam2` package as a contestant, for comparison. Nothing else needs it."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..model import SAM2
from .contestant import ATTENTION, DECODER, ENCODER, FIRST_MEASURED, MEMORY

SIZES = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


class OriginalMissingError(Exception):
    """The original is not installed here; the message tells how to get it."""


def require_original() -> tuple[Any, Any]:
    """The original's module of the video predictor, and the function that builds one.

    Raises:
        OriginalMissingError: see there.
    """
    try:
        from sam2 import sam2_video_predictor  # type: ignore[import-not-found]
        from sam2.build_sam import build_sam2_video_predictor  # type: ignore[import-not-found]
    except ModuleNotFoundError as error:
        raise OriginalMissingError(
            f"the original sam2 package can't be imported here (no module {error.name!r}): "
            "run `make original` in the source tree, then this command as .venv-original/bin/sam2"
        ) from None
    return sam2_video_predictor, build_sam2_video_predictor


class Original:
    """The original's video predictor, with the weights of one of our models.

    It tracks a clip that it has read and resized beforehand; `Tracker` resizes every image within its step.

    Args:
        name: of an official model.
        model: the same of ours; the weights are copied.

    Raises:
        OriginalMissingError: it is not installed.
    """

    name = "sam2 (original)"

    def __init__(self, name: str, model: SAM2) -> None:
        module, build = require_original()
        module.tqdm = lambda frames, **options: frames  # no bars between our lines
        # it is told that a CUDA extension is missing, which fills holes in masks; so it goes without
        warnings.filterwarnings("ignore", message="cannot import name '_C'")
        family, size = name.split("_hiera_")
        self.predictor = build(
            f"configs/{family}/{family}_hiera_{SIZES[size]}.yaml",
            device=str(model.device),
            hydra_overrides_extra=[f"++model.image_size={model.config.image_size}"],
        )
        self.predictor.load_state_dict(model.state_dict())
        self.device = model.device

    def prepare(self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[Sequence[float]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for index, image in enumerate(images):
                cv2.imwrite(str(Path(folder) / f"{index:05}.jpg"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
                state = self.predictor.init_state(folder)
        for number, box in enumerate(boxes, 1):
            self.predictor.add_new_points_or_box(state, 0, number, box=np.array(box, np.float32))
        for _ in self.predictor.propagate_in_video(state, 0, max_frame_num_to_track=1):
            pass
        # as in `Ours.prepare`: the second image stands for those up to the first measured one
        for outputs in state["output_dict_per_obj"].values():
            tracked = outputs["non_cond_frame_outputs"]
            for index in range(2, FIRST_MEASURED):
                tracked[index] = {**tracked[1], "maskmem_features": tracked[1]["maskmem_features"].clone()}
        self._results = self.predictor.propagate_in_video(state, FIRST_MEASURED)

    def step(self, index: int) -> None:
        reached, _ids, masks = next(self._results)
        assert reached == index, f"the original is at image {reached}, not at {index}"
        (masks > 0).cpu().numpy()

    def stages(self) -> list[tuple[Any, str, str]]:
        return [
            (self.predictor, "forward_image", ENCODER),
            (self.predictor, "_prepare_memory_conditioned_features", ATTENTION),
            (self.predictor, "_forward_sam_heads", DECODER),
            (self.predictor, "_encode_new_memory", MEMORY),
        ]

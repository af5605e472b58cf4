"""What distinguishes the models: one dataclass per part, one registry of names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf

from .checks import check_number


@dataclass(frozen=True)
class MemoryConfig:
    """What a tracker keeps of the past, per object.

    Attributes:
        prompted_frames: how many prompted images are kept; when they are full, the first stays and the
            oldest of the rest goes (of one alone, the newest stays).
        memory_frames: how many images back the spatial memory reaches; at most as many as the model was
            trained with.
        object_pointers: pointers reach back `object_pointers - 1` images; those of prompted images stay as
            long as the image does.
        policy: name of the rule that chooses what is kept, see `sam2_core.memory_policies`.

    Raises:
        ValueError: a number is out of range, or not a whole one.
    """

    prompted_frames: int = 8
    memory_frames: int = 6
    object_pointers: int = 16
    policy: str = "fifo"

    def __post_init__(self) -> None:
        for name, least, most in (
            ("prompted_frames", 1, 64),
            ("memory_frames", 0, inf),  # how many there may be depends on the model: see `Tracker`
            ("object_pointers", 0, 64),
        ):
            check_number(name, getattr(self, name), least, most, whole=True)


@dataclass(frozen=True)
class HieraConfig:
    """SAM 2's trunk, see `model.hiera.Hiera`."""

    channels: int = 96
    heads: int = 1
    depths: tuple[int, ...] = (1, 2, 7, 2)
    windows: tuple[int, ...] = (8, 4, 14, 7)
    global_blocks: tuple[int, ...] = (5, 7, 9)
    background_size: tuple[int, int] = (7, 7)


@dataclass(frozen=True)
class EfficientNetConfig:
    """sam2_nano's trunk and neck, see `model.efficientnet` and `model.neck.TopDownNeck`."""

    neck_channels: tuple[int, int, int] = (16, 32, 128)


@dataclass(frozen=True)
class MemoryAttentionConfig:
    depth: int = 4
    feed_forward: int = 2048


@dataclass(frozen=True)
class MaskDecoderConfig:
    heads: int = 8
    feed_forward: int = 2048
    quality_hidden: int = 256
    residual_upscaling: bool = False


@dataclass(frozen=True)
class PreprocessingConfig:
    """How images come in and logits go out.

    Attributes:
        resize: `bilinear` (with antialiasing) or `area`.
        resize_clip: how frames of a finished clip are resized: `bicubic` (on bytes, with antialiasing), as
            SAM 2's video predictor does it, or `area`.
        enlarge: `bilinear` or `bicubic`: how low-resolution logits reach the image's size.
    """

    resize: str = "bilinear"
    resize_clip: str = "bicubic"
    enlarge: str = "bilinear"


@dataclass(frozen=True)
class SightConfig:
    """When a tracked object counts as out of sight, for models whose object score alone does not tell.

    The evidence for an object is its presence times the predicted IoU of its mask. Between the two thresholds
    what held in the image before goes on, so that nothing flickers. 0: it is never out of sight.

    Attributes:
        lost: an object in sight is lost when the evidence falls below this.
        found: a lost one is in sight again when the evidence is at least this.

    Raises:
        ValueError: not 0 <= lost <= found <= 1.
    """

    lost: float = 0.0
    found: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.lost <= self.found <= 1:
            raise ValueError(f"lost {self.lost:g}, found {self.found:g}: give 0 <= lost <= found <= 1")

    def holds(self, evidence: float, before: bool) -> bool:
        """Whether an object with this evidence is in sight; `before`: whether it was in the image before."""
        return evidence >= (self.lost if before else self.found)


@dataclass(frozen=True)
class EverythingConfig:
    """How a model is asked for every mask of a picture, see `MaskGenerator`.

    The defaults are SAM's. What a good mask is, is said by the model's own scores, and these differ.
    """

    points_per_side: int = 32
    pred_iou_thresh: float = 0.8
    stability_score_thresh: float = 0.95
    multimask_output: bool = True


@dataclass(frozen=True)
class SAM2Config:
    """A whole model.

    Attributes:
        image_size: side of the square input, pixels; a multiple of 32.
        channels: channels of embeddings and tokens.
        memory_channels: channels of the spatial memory.
        memory_slots: rows of the learnt temporal position table: the spatial memory reaches back one less.
        pointer_time: object pointers carry temporal positions (SAM 2.1).
        absent_embedding: the spatial memory is told when the object is absent (SAM 2.1).
        appearance_keys: memories are also found by what the image looked like there (sam2_nano).
        draw_prompts: clicks and boxes are also drawn into the mask prompt (sam2_nano).
        look_up_clicks: what was clicked is found by its likeness, see `SAM2.look_up_clicks` (sam2_nano).
        gate_by_presence: where the object score is negative, the mask is empty and the pointer is the one
            for "no object".
        multimask_points: with how many points (least, most; a box counts two) a prompt gets three candidate
            masks.
        multimask_tracking: images without a prompt get three candidate masks, too.
        stable_single_mask: an unstable single mask gives way to the best of the three.
        smallest_piece: of an object that is tracked without a prompt, pieces of the mask smaller than this
            share of the largest are not shown; they are remembered all the same (sam2_nano).
        sight: when an object is out of sight although the model gives it a mask.
        memory: the model's own memory settings.
        everything: the model's own settings for finding every mask.
    """

    image_size: int
    trunk: HieraConfig | EfficientNetConfig
    channels: int = 256
    memory_channels: int = 64
    memory_slots: int = 7
    memory_attention: MemoryAttentionConfig = field(default_factory=MemoryAttentionConfig)
    mask_decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)
    preprocessing: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    pointer_time: bool = True
    absent_embedding: bool = True
    appearance_keys: bool = False
    draw_prompts: bool = False
    look_up_clicks: bool = False
    gate_by_presence: bool = True
    multimask_points: tuple[int, int] = (0, 1)
    multimask_tracking: bool = True
    stable_single_mask: bool = True
    smallest_piece: float = 0.0
    sight: SightConfig = field(default_factory=SightConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    everything: EverythingConfig = field(default_factory=EverythingConfig)

    def __post_init__(self) -> None:
        check_number("image size", self.image_size, 64, 4096, whole=True)
        if self.image_size % 32:
            raise ValueError(f"image size {self.image_size} is not a multiple of 32: give 64, 96, ... 4096")

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the image embedding."""
        return self.image_size // 16, self.image_size // 16


_TRUNKS = {
    "tiny": HieraConfig(),
    "small": HieraConfig(depths=(1, 2, 11, 2), global_blocks=(7, 10, 13)),
    "base_plus": HieraConfig(
        channels=112, heads=2, depths=(2, 3, 16, 3), global_blocks=(12, 16, 20), background_size=(14, 14)
    ),
    "large": HieraConfig(
        channels=144, heads=2, depths=(2, 6, 36, 4), windows=(8, 4, 16, 8), global_blocks=(23, 33, 43)
    ),
}

_NANO = SAM2Config(
    image_size=384,
    trunk=EfficientNetConfig(),
    channels=128,
    memory_slots=4,
    memory_attention=MemoryAttentionConfig(depth=2, feed_forward=512),
    mask_decoder=MaskDecoderConfig(heads=4, feed_forward=512, quality_hidden=128, residual_upscaling=True),
    preprocessing=PreprocessingConfig(resize="area", resize_clip="area", enlarge="bicubic"),
    pointer_time=False,
    appearance_keys=True,
    draw_prompts=True,
    look_up_clicks=True,
    gate_by_presence=False,
    multimask_points=(1, 1),
    multimask_tracking=False,
    stable_single_mask=False,
    smallest_piece=0.1,
    sight=SightConfig(lost=0.15, found=0.35),
    memory=MemoryConfig(prompted_frames=4, memory_frames=1, object_pointers=4, policy="confident"),
    everything=EverythingConfig(
        points_per_side=16, pred_iou_thresh=0.5, stability_score_thresh=0.7, multimask_output=False
    ),
)


def _official() -> dict[str, SAM2Config]:
    models = {}
    for size, trunk in _TRUNKS.items():
        newer = SAM2Config(image_size=1024, trunk=trunk)
        models[f"sam2_hiera_{size}"] = replace(newer, pointer_time=False, absent_embedding=False)
        models[f"sam2.1_hiera_{size}"] = newer
    return models


MODELS: dict[str, SAM2Config] = {"sam2_nano": _NANO, **_official()}
"""Every model by its name: what `load_model` accepts."""

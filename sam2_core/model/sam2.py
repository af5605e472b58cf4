"""SAM 2: the parts put together, each step of tracking one method (Ravi et al., SAM 2, 2024).

Everything here is differentiable and batched; what is remembered, and for how long, is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs import EfficientNetConfig, SAM2Config
from .clicks import said_by_clicks
from .efficientnet import EfficientNetLite
from .hiera import Hiera
from .layers import MLP, to_map, to_tokens
from .mask_decoder import STABILITY_THRESHOLD, DecodedMasks, MaskDecoder, stability
from .memory_attention import MemoryAttention
from .memory_encoder import MemoryEncoder
from .neck import FpnNeck, ImageEncoder, TopDownNeck
from .position_encoding import sine_grid, sine_time
from .prompt_encoder import BACKGROUND, OBJECT, PADDING, PromptEncoder

ABSENT_LOGIT = -1024.0
"""Mask logit everywhere, where a gating model says that the object is not in the image."""

MASK_SCALE, MASK_BIAS = 20.0, -10.0
"""A mask in 0..1 becomes logits, or the memory encoder's input, as `20 m - 10` (SAM 2's constants)."""


@dataclass(frozen=True)
class VisionFeatures:
    """What the image encoder makes of B images.

    Attributes:
        embedding: (B, C, h, w) at stride 16.
        high_resolution: (B, C / 8, 4 h, 4 w) and (B, C / 4, 2 h, 2 w), as the mask decoder adds them.
        appearance: (B, h w, memory_channels) appearance keys, or None.
    """

    embedding: Tensor
    high_resolution: tuple[Tensor, Tensor]
    appearance: Tensor | None


class MaskOutput(NamedTuple):
    """One mask for each of B objects, what the memory needs with it, and what it was chosen from."""

    logits: Tensor  # (B, 1, 4 h, 4 w)
    quality: Tensor  # (B,) predicted IoU
    pointer: Tensor  # (B, C)
    presence_logit: Tensor  # (B, 1)
    candidates: Tensor  # (B, K, 4 h, 4 w) all masks to choose from
    candidate_quality: Tensor  # (B, K)
    candidate_tokens: Tensor  # (B, K, C) the decoder's tokens of these masks


class SAM2(nn.Module):
    """The model. Attribute names equal the official checkpoints' keys.

    Args:
        config: what to build; weights are random until a checkpoint is loaded.
    """

    image_position: Tensor
    memory_position: Tensor

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        self.config = config
        channels, memory_channels, grid = config.channels, config.memory_channels, config.grid
        if isinstance(config.trunk, EfficientNetConfig):
            trunk: nn.Module = EfficientNetLite()
            neck: nn.Module = TopDownNeck(EfficientNetLite.channels, config.trunk.neck_channels)
        else:
            trunk = Hiera(**vars(config.trunk))
            neck = FpnNeck(trunk.channels, channels)
        self.image_encoder = ImageEncoder(trunk, neck)
        self.memory_attention = MemoryAttention(
            channels,
            memory_channels,
            config.memory_attention.feed_forward,
            config.memory_attention.depth,
            grid,
        )
        self.memory_encoder = MemoryEncoder(channels, memory_channels)
        self.sam_prompt_encoder = PromptEncoder(channels, config.image_size, grid)
        self.sam_mask_decoder = MaskDecoder(channels, **vars(config.mask_decoder))

        self.maskmem_tpos_enc = nn.Parameter(0.02 * torch.randn(config.memory_slots, 1, 1, memory_channels))
        self.no_mem_embed = nn.Parameter(0.02 * torch.randn(1, 1, channels))
        self.no_mem_pos_enc = nn.Parameter(
            0.02 * torch.randn(1, 1, channels)
        )  # in checkpoints, but never used
        self.mask_downsample = nn.Conv2d(1, 1, 4, stride=4)
        self.no_obj_ptr = nn.Parameter(0.02 * torch.randn(1, channels))
        self.obj_ptr_proj = MLP(channels, channels, channels, depth=3)
        if config.pointer_time:
            self.obj_ptr_tpos_proj = nn.Linear(channels, memory_channels)
        if config.absent_embedding:
            self.no_obj_embed_spatial = nn.Parameter(0.02 * torch.randn(1, memory_channels))
        if config.appearance_keys:
            self.key_proj = nn.Linear(channels, memory_channels, bias=False)
        self.register_buffer(
            "image_position", to_tokens(sine_grid(*grid, channels)[None])[0], persistent=False
        )
        self.register_buffer(
            "memory_position", to_tokens(sine_grid(*grid, memory_channels)[None])[0], persistent=False
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.no_mem_embed.device

    @property
    def precision(self) -> torch.dtype:
        """In which numbers images and memories are encoded and looked up, see `use_precision`."""
        return next(self.image_encoder.parameters()).dtype

    def use_precision(self, precision: torch.dtype) -> None:
        """Let image encoder, memory attention and memory encoder, the costly parts, compute in such numbers.

        What goes into them and comes out, and all else, stays float32: masks are decoded from it, and
        memories are kept in it.

        Args:
            precision: `torch.bfloat16` is twice as fast in large products on processors that have it, and
                rounds to 3 digits; `torch.float32`.
        """
        costly = (
            self.image_encoder,
            self.memory_attention,
            self.memory_encoder,
            *self.sam_mask_decoder.high_resolution_convs,
        )
        for part in costly:
            for parameter in part.parameters():  # not the buffers: angles need their digits
                parameter.data = parameter.data.to(precision)

    def encode_image(self, images: Tensor) -> VisionFeatures:
        """Encode B images.

        Args:
            images: (B, 3, image_size, image_size), normalised with ImageNet's mean and standard deviation.
        """
        maps = self.image_encoder(images.to(self.precision), *self.sam_mask_decoder.high_resolution_convs)
        stride4, stride8, embedding = (features.to(images.dtype) for features in maps)
        appearance = None
        if self.config.appearance_keys:
            tokens = to_tokens(embedding)
            appearance = self.key_proj(F.layer_norm(tokens, tokens.shape[-1:]))
        return VisionFeatures(embedding, (stride4, stride8), appearance)

    def without_memory(self, vision: VisionFeatures) -> Tensor:
        """The embedding of an image in which an object begins: nothing is known of it. Returns: (B, C, h,
        w).
        """
        return vision.embedding + self.no_mem_embed.view(1, -1, 1, 1)

    def pointer_position(self, distances: Tensor) -> Tensor:
        """Temporal position encoding of object pointers.

        Args:
            distances: (...,) how many images ago, divided by the farthest that can be remembered.

        Returns: (..., memory_channels); zeros for models without temporal positions of pointers.
        """
        if not self.config.pointer_time:
            return self.no_mem_embed.new_zeros(*distances.shape, self.config.memory_channels)
        return self.obj_ptr_tpos_proj(sine_time(distances, self.config.channels))

    def condition_on_memory(
        self,
        vision: VisionFeatures,
        memories: Tensor,
        appearance: Tensor | None,
        slots: list[int],
        pointers: Tensor,
        pointer_distances: Tensor,
        visible: Tensor | None = None,
    ) -> Tensor:
        """Let the image look up the memories of B objects.

        Args:
            vision: features of one image for all objects, or of B images.
            memories: (B, M, h w, memory_channels) spatial memories.
            appearance: (B, M, h w, memory_channels) appearance keys of the memories' images, or None.
            slots: M numbers: 0 for a prompted image, else how many images ago (1 to memory_slots - 1).
            pointers: (B, P, C) object pointers; P may be 0.
            pointer_distances: (B, P) how many images ago, divided by the farthest that can be remembered.
            visible: bool (B, M h w + pointer tokens), what may be looked at; None: all.

        Returns: (B, C, h, w).
        """
        config = self.config
        # the table's rows: distances 1, 2, ... first, the prompted images' row last
        rows = [slot - 1 if slot else config.memory_slots - 1 for slot in slots]
        position = self.memory_position + self.maskmem_tpos_enc[rows].flatten(1, 2)  # (M, h w, C_memory)
        batch = len(memories)
        positions = position.expand(batch, -1, -1, -1)
        if appearance is not None:
            positions = positions + appearance
        # a pointer is as wide as several memory tokens, which share its position
        split = config.channels // config.memory_channels
        pointer_tokens = pointers.unflatten(2, (split, -1)).flatten(1, 2)
        pointer_positions = self.pointer_position(pointer_distances).repeat_interleave(split, dim=1)
        tokens = (
            to_tokens(vision.embedding),
            self.image_position,
            torch.cat((memories.flatten(1, 2), pointer_tokens), dim=1),
            torch.cat((positions.flatten(1, 2), pointer_positions), dim=1),
        )
        conditioned = self.memory_attention(
            *(part.to(self.precision) for part in tokens), pointer_tokens.shape[1], visible
        )
        return to_map(conditioned.to(vision.embedding.dtype), config.grid)

    def begin(self, vision: VisionFeatures, points: Tensor | None, labels: Tensor | None) -> Tensor:
        """The embedding in which prompts for B new objects are answered.

        Args:
            vision: features of one image.
            points: (B, P, 2) x, y in pixels of the model's input, or None.
            labels: (B, P), see `prompt_encoder`, or None.

        Returns: (1 or B, C, h, w).
        """
        if self.config.look_up_clicks and points is not None and labels is not None:
            clicks = ((labels == OBJECT) | (labels == BACKGROUND)).all()
            if clicks and (labels == OBJECT).any(dim=1).all():
                return self.look_up_clicks(vision, points, labels)
        return self.without_memory(vision)

    def look_up_clicks(self, vision: VisionFeatures, points: Tensor, labels: Tensor) -> Tensor:
        """Let an image look up, in itself, what looks like what was clicked (sam2_nano).

        The clicked places make a memory of their own image: those on the object, those on the background,
        and, as background, too, all that is far from every click on the object. What lies between, nobody
        has said; it is found by its likeness.

        Args:
            vision: features of one image for all objects, or of B images.
            points: (B, P, 2) x, y in pixels of the model's input.
            labels: (B, P) of 1 and 0.

        Returns: (B, C, h, w).
        """
        visible, logits = said_by_clicks(points, labels, self.config.grid, self.config.image_size)
        memory = self.encode_memory(vision, logits, logits.new_ones(len(points), 1), binarise=True)
        appearance = vision.appearance
        if appearance is not None:
            appearance = appearance.expand(len(points), -1, -1)[:, None]
        no_pointer = memory.new_zeros(len(points), 0, self.config.channels)
        return self.condition_on_memory(
            vision, memory[:, None], appearance, [0], no_pointer, no_pointer[..., 0], visible
        )

    def encode_memory(
        self, vision: VisionFeatures, logits: Tensor, presence_logit: Tensor, binarise: bool
    ) -> Tensor:
        """Make the memory of an image in which B objects have these masks.

        Args:
            vision: features of one image for all objects, or of B images.
            logits: (B, 1, 4 h, 4 w) low-resolution mask logits.
            presence_logit: (B, 1).
            binarise: remember the mask as it is shown, as for prompted images, instead of its probabilities.

        Returns: (B, h w, memory_channels).
        """
        size = self.config.image_size
        mask = F.interpolate(logits, size=(size, size), mode="bilinear", align_corners=False)
        mask = ((mask > 0).to(mask.dtype) if binarise else mask.sigmoid()) * MASK_SCALE + MASK_BIAS
        encoded = self.memory_encoder(vision.embedding.to(self.precision), mask.to(self.precision))
        memory = to_tokens(encoded.to(mask.dtype))
        if self.config.absent_embedding and self.config.gate_by_presence:
            memory = memory + (presence_logit <= 0)[..., None] * self.no_obj_embed_spatial
        return memory

    def wants_candidates(self, points: int, begins: bool) -> bool:
        """Whether a prompt of so many points (a box counts two) is answered by the best of three masks.

        Args:
            points: 0 where the object is tracked without a prompt.
            begins: the object begins in this image.
        """
        if begins and self.config.look_up_clicks:
            return False
        least, most = self.config.multimask_points
        return (begins or self.config.multimask_tracking) and least <= points <= most

    def raw_masks(
        self,
        embedding: Tensor,
        high_resolution: tuple[Tensor, Tensor],
        points: Tensor | None,
        labels: Tensor | None,
        mask_logits: Tensor | None,
    ) -> DecodedMasks:
        """Prompt encoder and mask decoder: all four masks of B prompts.

        Args:
            embedding: (B, C, h, w).
            high_resolution: see `VisionFeatures`; batch 1 or B.
            points: (B, P, 2) x, y in pixels of the model's input, or None.
            labels: (B, P), see `prompt_encoder`, or None.
            mask_logits: (B, 1, 4 h, 4 w) of a rough mask, or None.
        """
        if self.config.draw_prompts and points is not None and labels is not None:
            mask_logits = self.sam_prompt_encoder.draw(points, labels, mask_logits)
        return self._masks(embedding, high_resolution, points, labels, mask_logits)

    def _masks(
        self,
        embedding: Tensor,
        high_resolution: tuple[Tensor, Tensor],
        points: Tensor | None,
        labels: Tensor | None,
        mask_logits: Tensor | None,
    ) -> DecodedMasks:
        tokens, prompt_map = self.sam_prompt_encoder(points, labels, mask_logits)
        tokens = tokens.expand(len(embedding), -1, -1)
        position = self.sam_prompt_encoder.image_position()
        return self.sam_mask_decoder(embedding, position, tokens, prompt_map, high_resolution)

    def choose(self, decoded: DecodedMasks, several: bool) -> tuple[Tensor, Tensor]:
        """The masks that a prompt is answered with.

        Args:
            decoded: all four masks of B objects.
            several: the three candidates rather than the single mask.

        Returns: logits (B, K, 4 h, 4 w) and predicted IoU (B, K); K is 3 or 1.
        """
        if several:
            return decoded.logits[:, 1:], decoded.quality[:, 1:]
        logits, quality = decoded.logits[:, :1], decoded.quality[:, :1]
        if not self.config.stable_single_mask or self.training:
            return logits, quality
        best = decoded.quality[:, 1:].argmax(dim=1, keepdim=True) + 1
        stable = stability(logits) >= STABILITY_THRESHOLD
        return (
            torch.where(
                stable[..., None, None],
                logits,
                torch.take_along_dim(decoded.logits, best[..., None, None], 1),
            ),
            torch.where(stable, quality, torch.take_along_dim(decoded.quality, best, 1)),
        )

    def decode(
        self,
        embedding: Tensor,
        high_resolution: tuple[Tensor, Tensor],
        points: Tensor | None = None,
        labels: Tensor | None = None,
        mask_logits: Tensor | None = None,
        several: bool = False,
    ) -> MaskOutput:
        """Segment B objects in an image.

        Args:
            embedding: (B, C, h, w), see `without_memory` and `condition_on_memory`.
            high_resolution: as in `raw_masks`.
            points: as in `raw_masks`.
            labels: as in `raw_masks`.
            mask_logits: as in `raw_masks`.
            several: take the best of three candidates, see `wants_candidates`.
        """
        if points is None or labels is None:  # where SAM 2 tracks without a prompt it gives one padding point
            padding = embedding.new_zeros(len(embedding), 1, 2)
            label = torch.full((len(embedding), 1), PADDING, device=embedding.device)
            decoded = self._masks(embedding, high_resolution, padding, label, mask_logits)
        else:
            decoded = self.raw_masks(embedding, high_resolution, points, labels, mask_logits)
        logits, quality = self.choose(decoded, several)
        present = decoded.presence_logit > 0
        if self.config.gate_by_presence:
            logits = torch.where(present[..., None, None], logits, ABSENT_LOGIT)
        tokens = decoded.tokens[:, 1:] if several else decoded.tokens[:, :1]
        return self._picked(quality.argmax(dim=1), decoded.presence_logit, logits, quality, tokens)

    def pick(self, output: MaskOutput, index: Tensor) -> MaskOutput:
        """The same answer with other candidates chosen; index (B,)."""
        return self._picked(index, output.presence_logit, *output[-3:])

    def _picked(
        self, index: Tensor, presence_logit: Tensor, logits: Tensor, quality: Tensor, tokens: Tensor
    ) -> MaskOutput:
        index = index[:, None]
        token = torch.take_along_dim(tokens, index[..., None], 1)[:, 0]
        return MaskOutput(
            torch.take_along_dim(logits, index[..., None, None], 1),
            quality.gather(1, index)[:, 0],
            self._gate(self.obj_ptr_proj(token), presence_logit > 0),
            presence_logit,
            logits,
            quality,
            tokens,
        )

    def from_mask(self, vision: VisionFeatures, mask: Tensor) -> MaskOutput:
        """Take a given mask as the result, and make the pointer that belongs to it.

        Other than with the original, an object too small for the logits' resolution keeps a place in them.

        Args:
            vision: features of one image.
            mask: (B, 1, image_size, image_size) of 0 and 1.
        """
        size = self.config.image_size
        logits = F.interpolate(
            mask * MASK_SCALE + MASK_BIAS, size=(size // 4, size // 4), mode="bilinear", antialias=True
        )
        # the place that shows most of it counts as if it showed nothing else
        share = (logits.amax(dim=(2, 3), keepdim=True) - MASK_BIAS) / MASK_SCALE
        enlarged = (logits - MASK_BIAS) / share + MASK_BIAS
        logits = torch.where((share > 0) & (share <= 0.5), enlarged, logits)
        embedding = vision.embedding.expand(len(mask), -1, -1, -1)
        seen = self.decode(embedding, vision.high_resolution, mask_logits=self.mask_downsample(mask))
        present = mask.flatten(1).any(dim=1, keepdim=True)
        pointer = self._gate(seen.pointer, present)
        quality = mask.new_ones(len(mask))
        presence_logit = MASK_SCALE * present + MASK_BIAS
        tokens = seen.candidate_tokens[:, :1]
        return MaskOutput(logits, quality, pointer, presence_logit, logits, quality[:, None], tokens)

    def _gate(self, pointer: Tensor, present: Tensor) -> Tensor:
        """Object pointers (B, C); where a gating model finds no object (B, 1), the one for that."""
        return torch.where(present, pointer, self.no_obj_ptr) if self.config.gate_by_presence else pointer

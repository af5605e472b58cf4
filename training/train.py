"""Train sam2_nano: `python -m training.train --data PREPARED --output RUN`.

Runs the stages of `training.recipe` one after the other. A run folder holds state.pt (to go on after any
interruption: give the same command again), log.jsonl, ema.safetensors (the averaged weights) and curves.png;
at the end sam2_nano.safetensors, the averaged weights in half precision.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from tqdm import tqdm

from sam2_core.model.sam2 import SAM2, MaskOutput
from training import parallel
from training.batches import Batches
from training.curves import draw_curves
from training.losses import FrameLoss, frame_loss
from training.photos import PhotoStore
from training.prompts import correcting_clicks
from training.recipe import NAMES, Stage, stages_from
from training.rollout import ClipBatch, begin, correct, encode_clips, pick, roll_out
from training.state import TrainerState, Weights, read_weights, write_weights

CLIP_NORM = 1.0
SAVE_EVERY_SECONDS = 180.0
PROMPT_SHARE = 0.5
"""Weight of the loss of further prompts on the first frame, relative to the clip's."""


def output_loss(output: MaskOutput, masks: torch.Tensor) -> FrameLoss:
    """Loss of what the model said of N objects in a frame; masks: bool (N, S, S), the true ones."""
    return frame_loss(output.candidates, output.candidate_quality, output.presence_logit, masks)


def clip_loss(
    model: SAM2, batch: ClipBatch, rng: np.random.Generator
) -> tuple[torch.Tensor, dict[str, float]]:
    """Loss of a batch of clips, and figures to log.

    Besides tracking from the batch's own prompt, the first frame is segmented from a box and clicks, the last
    of these answers is corrected: its features are there already, and answering prompts is learnt slowly.

    Args:
        model: The model, in training mode.
        batch: Clips with their prompts.
        rng: For the further prompts.
    """
    frames = batch.images.shape[1]
    features = encode_clips(model, batch.images)
    outputs = roll_out(model, batch, features, rng)
    figures: dict[str, float] = {}
    total = torch.zeros((), device=model.device)
    count = 0
    for t, output in enumerate(outputs):
        if t == 0 and batch.prompts.kind == "mask":
            continue
        loss = output_loss(output, batch.masks[:, t])
        total = total + loss.total
        count += 1
        if t in (0, 1, frames - 1):
            name = {0: f"first_{batch.prompts.kind}", 1: "second"}.get(t, "last")
            figures[name] = float(loss.iou.nanmean())
    total = total / max(count, 1)
    first = pick(features, batch.clip * frames)
    share = PROMPT_SHARE / len(batch.others)
    for prompts in batch.others:
        answer = begin(model, first, prompts, batch.masks[:, 0])
        loss = output_loss(answer, batch.masks[:, 0])
        total = total + share * loss.total
        figures[f"first_{prompts.kind}"] = float(loss.iou.nanmean())
    shown = F.interpolate(answer.logits.detach(), scale_factor=4.0, mode="bilinear")[:, 0] > 0
    clicks = correcting_clicks(batch.masks[:, 0].cpu().numpy(), shown.cpu().numpy(), rng)
    corrected = correct(model, first, answer, clicks.to(model.device))
    loss = output_loss(corrected, batch.masks[:, 0])
    figures["corrected"] = float(loss.iou.nanmean())
    return total + share * loss.total, figures


def train_step(
    state: TrainerState, batch: ClipBatch, seed: int, progress: float
) -> tuple[dict[str, float], float]:
    """One optimisation step.

    Returns: Figures to log, and the progress that all processes agree on.
    """
    rng = np.random.default_rng([seed, 2])
    device = state.model.device
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu"):
        loss, figures = clip_loss(state.model, batch.to(device), rng)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    mean_loss, progress = parallel.average(state.parameters, [loss.item(), progress])
    norm = torch.nn.utils.clip_grad_norm_(state.parameters, CLIP_NORM)
    if torch.isfinite(norm):
        state.set_rate(progress)
        state.optimizer.step()
    state.step += 1
    state.average_weights()
    return {"loss": mean_loss, "norm": float(norm), **figures}, progress


class Run:
    """A run folder and the stages that are carried out in it."""

    def __init__(
        self,
        folder: Path,
        data: Path,
        seed: int,
        minutes: float | None,
        rank: int,
        ranks: int,
        workers: int = 1,
        device: str = "cpu",
    ) -> None:
        """Bind the folder.

        Args:
            folder: Receives state, log, weights and curves.
            data: Prepared photos.
            seed: Determines every batch.
            minutes: Ends each stage after this time, if its steps take longer.
            rank: Number of this process.
            ranks: Number of processes.
            workers: Processes that make clips ahead; 0: this one makes them when it needs them.
            device: PyTorch device of the model; elsewhere than on a CPU it computes in bfloat16.
        """
        self.folder, self.data, self.seed, self.minutes = folder, data, seed, minutes
        self.rank, self.ranks, self.workers, self.device = rank, ranks, workers, device
        folder.mkdir(parents=True, exist_ok=True)

    def carry_out(self, stages: tuple[Stage, ...], weights: Weights) -> Weights:
        """Train through the stages, from where an interrupted run was; returns the averaged weights."""
        saved = None
        if (self.folder / "state.pt").exists():
            saved = torch.load(self.folder / "state.pt", map_location="cpu", weights_only=True)
            names = [stage.name for stage in stages]
            stages = stages[names.index(saved["stage"]) :]
        for number, stage in enumerate(stages):
            state = TrainerState(stage, weights, self.device)
            if number == 0 and saved is not None:
                state.restore(saved)
            self._stage(state)
            weights = state.ema
        return weights

    def _progress(self, state: TrainerState, steps: int) -> float:
        """Share of the stage that is over after so many steps."""
        spent = state.seconds / (60 * self.minutes) if self.minutes else 0.0
        return max(steps / state.stage.steps, spent)

    def _stage(self, state: TrainerState) -> None:
        seed = self.seed + 7919 * NAMES.index(state.stage.name)
        batches = Batches(self.data, state.stage.cycle, seed, state.step, self.rank, self.ranks)
        prefetch = 2 if self.workers else None
        loader = iter(
            DataLoader(batches, batch_size=None, num_workers=self.workers, prefetch_factor=prefetch)
        )
        bar = tqdm(total=state.stage.steps, initial=state.step, desc=state.stage.name, disable=self.rank > 0)
        progress, saved_at, before = self._progress(state, state.step), time.monotonic(), time.monotonic()
        while progress < 1:
            step_seed = (seed * 1_000_003 + state.step) * self.ranks + self.rank
            ahead = self._progress(state, state.step + 1)
            figures, progress = train_step(state, next(loader), step_seed, ahead)
            now = time.monotonic()
            state.seconds, before = state.seconds + now - before, now
            if self.rank == 0:
                self._log(state, figures)
                bar.update()
                bar.set_postfix({"loss": f"{figures['loss']:.3f}"})
                if now - saved_at > SAVE_EVERY_SECONDS:
                    self._save(state)
                    saved_at = now
        if self.rank == 0:
            self._save(state)
        parallel.wait()

    def _log(self, state: TrainerState, figures: dict[str, float]) -> None:
        rounded = {name: round(value, 4) for name, value in figures.items()}
        entry = {"stage": state.stage.name, "step": state.step, "seconds": round(state.seconds, 1), **rounded}
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(entry) + "\n")

    def _save(self, state: TrainerState) -> None:
        state.save(self.folder / "state.pt")
        write_weights(state.ema, self.folder / "ema.safetensors", torch.float32)
        draw_curves(self.folder / "log.jsonl", self.folder / "curves.png")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("SAM2_TRAINING_DATA")
    parser.add_argument(
        "--data",
        type=Path,
        default=data,
        required=not data,
        help="prepared photos (or set SAM2_TRAINING_DATA)",
    )
    parser.add_argument("--output", type=Path, default=Path("out/training"), help="run folder (%(default)s)")
    parser.add_argument("--init", type=Path, help="weights to start from; default: the ImageNet trunk alone")
    parser.add_argument("--from-stage", help=f"one of {', '.join(NAMES)}; default: the first")
    parser.add_argument("--until-stage", help="last stage to carry out; default: the last")
    parser.add_argument("--minutes", type=float, help="end every stage after this time at the latest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="processes with a thread each (%(default)s)")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that make clips, for each of these (%(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="device of the model, e.g. cuda (%(default)s)")
    arguments = parser.parse_args()
    PhotoStore(arguments.data)  # a missing folder is better noticed now than by every process
    if arguments.processes > 1 and "WORLD_SIZE" not in os.environ:
        parallel.start_processes(arguments.processes, "training.train", sys.argv[1:])
        return
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rank, ranks = parallel.join()
    torch.manual_seed(arguments.seed)
    if arguments.init:
        weights = read_weights(arguments.init)
    else:
        from training.imagenet import initial_weights

        weights = initial_weights()
    stages = stages_from(arguments.from_stage)
    if arguments.until_stage:
        stages = stages[: [stage.name for stage in stages].index(arguments.until_stage) + 1]
    run = Run(
        arguments.output,
        arguments.data,
        arguments.seed,
        arguments.minutes,
        rank,
        ranks,
        arguments.workers,
        arguments.device,
    )
    weights = run.carry_out(stages, weights)
    if rank == 0:
        write_weights(weights, arguments.output / "sam2_nano.safetensors")
        print(f"wrote {arguments.output / 'sam2_nano.safetensors'}")


if __name__ == "__main__":
    main()

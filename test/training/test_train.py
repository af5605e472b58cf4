from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sam2_core.configs import MODELS
from sam2_core.model.sam2 import SAM2
from training.batches import Batches, BatchSettings, make_batch
from training.clips import ClipMaker, ClipSettings
from training.losses import frame_loss, mask_losses, reference
from training.photos import PhotoStore
from training.prompts import correcting_clicks
from training.recipe import GPU_STAGE, STAGES, Stage, stages_from
from training.rollout import slip
from training.state import TrainerState, read_weights, write_weights
from training.train import Run, train_step

STAGE = Stage("small", BatchSettings(clips=1, frames=3, size=64), steps=3, rate=1e-3, warm_up=1)


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    model = SAM2(replace(MODELS["sam2_nano"], image_size=64))
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("kind", ["mask", "box", "point"])
def test_steps_on_one_batch_reduce_its_loss(prepared, weights, kind):
    maker = ClipMaker(PhotoStore(prepared), ClipSettings(3, 64))
    batch = make_batch(maker, STAGE.batch, seed=1, kind=kind)
    state = TrainerState(STAGE, weights)
    losses = [train_step(state, batch, seed=1, progress=0.0)[0]["loss"] for _ in range(8)]
    assert losses[-1] < 0.9 * losses[0]


def test_every_fourth_batch_asks_which_object_is_meant(prepared):
    answers = BatchSettings(clips=2, frames=1, size=64, crowded=True)
    batches = iter(Batches(prepared, replace(STAGE, answers=answers).cycle, 0, 0, 0, 1))
    assert [next(batches).images.shape[:2] for _ in range(5)] == [(1, 3), (1, 3), (1, 3), (2, 1), (1, 3)]


def test_several_workers_give_the_batches_of_one(prepared):
    batches = Batches(prepared, STAGE.cycle, 0, 2, 0, 1)
    one, two = (iter(DataLoader(batches, batch_size=None, num_workers=workers)) for workers in (0, 2))
    for _ in range(5):
        assert torch.equal(next(one).images, next(two).images)


def test_what_is_remembered_slips_in_one_place_of_some_masks():
    logits = torch.full((400, 1, 32, 32), -3.0)
    logits[:200, :, 8:24, 8:24] = 3.0
    slipped = slip(logits, np.random.default_rng(0))
    changed = (slipped != logits).flatten(1)
    added, taken = ((slipped.sign() == side) & (slipped != logits) for side in (1, -1))
    assert 0.15 < changed.any(1).float().mean() < 0.35
    assert changed.float().mean(1).max() < 0.25
    assert not (added.flatten(1).any(1) & taken.flatten(1).any(1)).any()
    assert taken[:200].any()
    assert not taken[200:].any()


def test_gradients_reach_every_part_through_the_memory(prepared, weights):
    maker = ClipMaker(PhotoStore(prepared), ClipSettings(3, 64))
    state = TrainerState(replace(STAGE, frozen_blocks=0), weights)
    train_step(state, make_batch(maker, STAGE.batch, seed=1, kind="mask"), seed=1, progress=0.0)
    for part in (
        "memory_encoder.out_proj",
        "obj_ptr_proj.layers.0",
        "key_proj",
        "image_encoder.trunk.blocks.0.project",
    ):
        gradient = state.model.get_parameter(f"{part}.weight").grad
        assert gradient is not None
        assert gradient.abs().max() > 0


def test_a_run_that_was_cut_off_ends_where_an_uncut_one_does(prepared, weights, tmp_path, monkeypatch):
    monkeypatch.setattr("training.train.SAVE_EVERY_SECONDS", 0.0)
    stage = replace(STAGE, batch=replace(STAGE.batch, clips=1, frames=2))
    whole = Run(tmp_path / "whole", prepared, 0, None, 0, 1, workers=0).carry_out((stage,), weights)

    class KilledError(Exception):
        pass

    taken = []

    def step_or_die(*arguments):
        if len(taken) == 2:
            raise KilledError
        taken.append(1)
        return train_step(*arguments)

    monkeypatch.setattr("training.train.train_step", step_or_die)
    with pytest.raises(KilledError):
        Run(tmp_path / "cut", prepared, 0, None, 0, 1, workers=0).carry_out((stage,), weights)
    monkeypatch.setattr("training.train.train_step", train_step)
    resumed = Run(tmp_path / "cut", prepared, 0, None, 0, 1, workers=0).carry_out((stage,), weights)

    for name in whole:
        assert torch.allclose(whole[name], resumed[name], atol=1e-6), name
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3]
    assert (tmp_path / "cut" / "curves.png").stat().st_size > 0


def test_a_good_mask_costs_less_than_a_bad_one():
    masks = torch.zeros(1, 64, 64, dtype=torch.bool)
    masks[:, 16:48, 16:48] = True
    logits = torch.full((1, 2, 16, 16), -8.0)
    logits[:, 0, 4:12, 4:12] = 8.0
    loss, iou = mask_losses(logits, reference(masks))
    assert loss[0, 0] < 0.2 * loss[0, 1]
    assert iou[0, 0] > 0.95
    assert iou[0, 1] == 0


def test_an_absent_object_asks_for_an_empty_mask_and_no_presence():
    masks = torch.zeros(1, 64, 64, dtype=torch.bool)
    empty, full = (torch.full((1, 1, 16, 16), value) for value in (-8.0, 8.0))
    quality = torch.zeros(1, 1)
    told = frame_loss(empty, quality, torch.tensor([[-5.0]]), masks)
    missed = frame_loss(full, quality, torch.tensor([[5.0]]), masks)
    assert told.total < 0.1
    assert missed.total > 1
    assert torch.isnan(told.iou).all()


def test_a_correcting_click_lands_where_the_mask_is_wrong():
    masks = np.zeros((2, 64, 64), bool)
    masks[:, 10:50, 10:50] = True
    shown = masks.copy()
    shown[0, 10:50, 30:50] = False
    shown[1, 10:50, 50:64] = True
    prompts = correcting_clicks(masks, shown, np.random.default_rng(0))
    (x_missing, _), (x_excess, _) = prompts.points[:, 0].tolist()
    assert prompts.labels.tolist() == [[1], [0]]
    assert 30 <= x_missing < 50
    assert 50 <= x_excess < 64


def test_weights_survive_their_half_precision_file(weights, tmp_path):
    write_weights(weights, tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_size < 10e6
    back = read_weights(tmp_path / "weights.safetensors")
    assert all(np.allclose(back[name], weights[name], atol=2e-3) for name in weights)


def test_the_learning_rate_rises_and_falls():
    factors = [STAGES[0].rate_factor(step, step / STAGES[0].steps) for step in (0, 100, STAGES[0].steps)]
    assert factors[0] < factors[1] > factors[2]


def test_the_stage_for_a_gpu_is_carried_out_only_if_named():
    assert GPU_STAGE not in stages_from(None)
    assert stages_from("gpu") == (GPU_STAGE,)
    with pytest.raises(ValueError, match=r"no stage 'cpu': choose from small, .*, gpu"):
        stages_from("cpu")

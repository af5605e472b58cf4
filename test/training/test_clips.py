from __future__ import annotations

import numpy as np

from training.clips import ClipMaker, ClipSettings
from training.motion import OBJECT_PACE, frame_patch, random_path
from training.photos import PhotoStore
from training.prompts import click, loose_box

SETTINGS = ClipSettings(frames=5, size=64)


def test_the_same_seed_gives_the_same_clip(prepared):
    one, two, other = (ClipMaker(PhotoStore(prepared), SETTINGS).make(seed) for seed in (3, 3, 4))
    assert np.array_equal(one.frames, two.frames)
    assert np.array_equal(one.labels, two.labels)
    assert one.objects == two.objects
    assert not np.array_equal(one.frames, other.frames)


def test_every_followed_object_is_visible_in_the_first_frame(prepared):
    maker = ClipMaker(PhotoStore(prepared), SETTINGS)
    for seed in range(30):
        clip = maker.make(seed)
        assert clip.frames.shape == (5, 64, 64, 3)
        assert clip.frames.dtype == np.uint8
        assert clip.objects
        for number in clip.objects:
            assert (clip.labels[0] == number).any()


def test_some_objects_go_away_and_some_of_them_return(prepared):
    maker = ClipMaker(PhotoStore(prepared), ClipSettings(frames=6, size=64, absence=1.0))
    gone = returned = 0
    for seed in range(40):
        clip = maker.make(seed)
        for number in clip.objects:
            there = (clip.labels == number).any(axis=(1, 2))
            gone += not there.all()
            returned += bool((~there[:-1] & there[1:]).any())
    assert gone > 10
    assert returned > 3


def test_several_objects_of_one_photo_are_followed(prepared):
    settings = ClipSettings(frames=1, size=64, labelled=0.0, whole=1.0, scenes=1.0, extra=())
    maker = ClipMaker(PhotoStore(prepared), settings)
    followed = [maker.make(seed).objects for seed in range(10)]
    assert all(set(numbers) <= {1, 2} for numbers in followed)
    assert any(len(numbers) == 2 for numbers in followed)


def test_two_things_that_go_together_are_one_object(prepared):
    for joined, numbers in ((1.0, {4}), (0.0, {4, 5})):
        settings = ClipSettings(5, 64, labelled=0.0, whole=0.0, extra=(1.0,), joined=joined, absence=0.0)
        maker = ClipMaker(PhotoStore(prepared), settings)
        clips = [maker.make(seed) for seed in range(20)]
        assert {number for clip in clips for number in clip.objects} == numbers


def test_training_and_validation_share_no_photo(prepared):
    train, held_out = PhotoStore(prepared), PhotoStore(prepared, "validation")
    assert len(held_out.photos) > 0
    assert not set(train.indices) & set(held_out.indices)


def test_an_object_is_drawn_where_its_path_leads(prepared):
    path = random_path(np.random.default_rng(0), 1, OBJECT_PACE.times(0), (0.25, 0.5), 0.5, tilt=0.0)
    patch = frame_patch(path, 0, (0.4, 0.4, 0.6, 0.6), source_size=100, frame_size=200)
    row, column = 100 - patch.top, 50 - patch.left
    assert abs(patch.map_x[row, column] - 50) < 1
    assert abs(patch.map_y[row, column] - 50) < 1


def test_a_layer_outside_the_frame_is_not_drawn():
    path = random_path(np.random.default_rng(0), 1, OBJECT_PACE, (3.0, 0.5), 0.5)
    assert frame_patch(path, 0, (0.4, 0.4, 0.6, 0.6), source_size=100, frame_size=200) is None


def test_boxes_and_clicks_fit_the_object():
    mask = np.zeros((64, 64), bool)
    mask[10:30, 20:50] = True
    rng = np.random.default_rng(0)
    assert loose_box(mask, rng, 0.0) == [[20.0, 10.0], [50.0, 30.0]]
    for central in (True, False):
        x, y = click(mask, rng, central)
        assert mask[int(y), int(x)]

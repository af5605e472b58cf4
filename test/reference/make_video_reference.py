"""Make video_predictor.npz: what the original (sam2 1.1.0) computes for video_script.py, on stand-in weights.

    .venv-original/bin/python test/reference/make_video_reference.py [NAME ...]      (see `make original`)

With names of scripts only these are made anew.

Beside the logits of every step it keeps the masks that the memory received as bits, those of prompted frames,
packed: a pixel at the rim whose logit is zero but for rounding falls to either side, and with these weights one
such pixel moves later logits by more than the tolerance.

The memory is kept in float32 (the original stores it as bfloat16); small holes are left open, as the original
leaves them without its CUDA extension; post-processing is on, as its builder has it.
"""

import inspect
import sys
import tempfile
from pathlib import Path

import numpy as np
import sam2.sam2_video_predictor as original
import torch
from reference_weights import reference_tensor
from sam2.build_sam import build_sam2_video_predictor
from video_script import SCRIPTS, SIZE, follow, write_frames

source = inspect.getsource(original)
assert source.count(".to(torch.bfloat16)") == 2
exec(compile(source.replace(".to(torch.bfloat16)", ""), original.__file__, "exec"), vars(original))


def build(model: str, corrections_count: bool):
    version, size = model.removeprefix("sam2").split("_hiera_")
    grid = SIZE // 16
    predictor = build_sam2_video_predictor(
        f"configs/sam2{version}/sam2{version}_hiera_{size[0]}.yaml",
        None,
        device="cpu",
        hydra_overrides_extra=[
            f"++model.add_all_frames_to_correct_as_cond={str(corrections_count).lower()}",
            f"++model.image_size={SIZE}",
            f"++model.memory_attention.layer.self_attention.feat_sizes=[{grid},{grid}]",
            f"++model.memory_attention.layer.cross_attention.feat_sizes=[{grid},{grid}]",
        ],
    )
    weights = {
        name: torch.from_numpy(reference_tensor(name, tuple(tensor.shape)))
        for name, tensor in predictor.state_dict().items()
    }
    weights["sam_mask_decoder.pred_obj_score_head.layers.2.bias"] += 5.0  # the object is there
    predictor.load_state_dict(weights)
    return predictor


def record_binary_masks(predictor) -> list[np.ndarray]:
    """The list that receives the mask bool (SIZE, SIZE) of every prompted frame that is remembered."""
    remembered, encode = [], predictor._encode_new_memory

    def recording(*given, **named):
        call = inspect.signature(encode).bind(*given, **named).arguments
        if call["is_mask_from_pts"]:
            remembered.extend(call["pred_masks_high_res"][:, 0].numpy() > 0)
        return encode(*given, **named)

    predictor._encode_new_memory = recording
    return remembered


torch.set_num_threads(2)
target = Path(__file__).parent / "video_predictor.npz"
names = sys.argv[1:] or list(SCRIPTS)
found = {}
if target.exists():
    found = {key: value for key, value in np.load(target).items() if key.split(":")[0] in SCRIPTS.keys() - set(names)}
for name in names:
    script = SCRIPTS[name]
    predictor = build(script["model"], script["corrections_count"])
    with tempfile.TemporaryDirectory() as folder:
        write_frames(Path(folder), script["frames"])
        remembered = record_binary_masks(predictor)
        masks = follow(predictor, predictor.init_state(folder), script["steps"])
    found[f"{name}: remembered"] = np.packbits(np.stack(remembered), axis=-1)
    found |= {f"{name}: {step}": logits for step, logits in masks.items()}
np.savez_compressed(target, **found)

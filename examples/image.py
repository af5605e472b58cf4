# %% [markdown]
# # Segment objects in a picture
#
# `ImagePredictor` encodes a picture once; then every prompt is answered in milliseconds. A prompt is a few
# clicks, a box, or both. On the command line the same is done by
# `sam2 image coffee.png --point 370,285 --point 231,268,0`.

# %%
from pathlib import Path

from PIL import Image
from skimage.data import coffee  # comes with scikit-image: nothing is downloaded

from sam2_core import ImagePredictor, load_model
from sam2_core.masks import area, mask_to_box, overlay_all

image = coffee()  # uint8 RGB (H, W, 3)
model = load_model("sam2_nano")  # or one of the official models, as "sam2.1_hiera_large"
predictor = ImagePredictor(model)
predictor.set_image(image)

# %% [markdown]
# ## Clicks
#
# One click on the spoon, label 1, and one on the cup's handle, label 0: not this. Every answer comes with the
# model's own guess of how good it is, and with low-resolution logits, which can be given back as `mask_input`
# to be refined.

# %%
masks, scores, logits = predictor.predict(
    points=[[370, 285], [231, 268]], labels=[1, 0], multimask_output=False
)
print(f"spoon: {area(masks[0])} pixels, score {scores[0]:.2f}, box {mask_to_box(masks[0]).tolist()}")

masks, scores, logits = predictor.predict(
    points=[[370, 285], [231, 268]], labels=[1, 0], mask_input=logits, multimask_output=False
)
Image.fromarray(overlay_all(image, list(masks)))

# %% [markdown]
# ## Several boxes at once
#
# B boxes give B answers: masks (B, 1, H, W). Here the saucer, the cup and the spoon.

# %%
boxes = [[80, 20, 480, 390], [165, 20, 420, 300], [320, 230, 420, 330]]
masks, scores, _ = predictor.predict(box=boxes, multimask_output=False)
picture = Image.fromarray(overlay_all(image, list(masks[:, 0])))

Path("out").mkdir(exist_ok=True)
picture.save("out/image.png")
print(f"scores {', '.join(f'{score:.2f}' for score in scores[:, 0])}: see out/image.png")
picture

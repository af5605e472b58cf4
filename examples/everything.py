# %% [markdown]
# # Find every mask of a picture
#
# `MaskGenerator` asks about a grid of points and keeps what the model itself holds for good, once. On the
# command line: `sam2 everything coffee.png`.

# %%
import time
from pathlib import Path

from PIL import Image
from skimage.data import coffee  # comes with scikit-image: nothing is downloaded

from sam2_core import MaskGenerator, load_model
from sam2_core.masks import overlay_all

image = coffee()  # uint8 RGB (H, W, 3)
model = load_model("sam2_nano")  # or one of the official models, as "sam2.1_hiera_large"

# %% [markdown]
# Every option of SAM's can be given; what is left out suits the model.
# Here a coarse grid: 16 points per side find more, and take four times as long.

# %%
generator = MaskGenerator(model, points_per_side=8)
begin = time.perf_counter()
found = generator.generate(image)
print(f"{len(found)} masks in {time.perf_counter() - begin:.1f} s")

# %% [markdown]
# Each is a dict with SAM's keys. The best come first.

# %%
for record in found[:3]:
    print({name: value for name, value in record.items() if name != "segmentation"})

picture = Image.fromarray(overlay_all(image, [record["segmentation"] for record in found]))
Path("out").mkdir(exist_ok=True)
picture.save("out/everything.png")
print("see out/everything.png")
picture

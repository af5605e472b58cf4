"""The executable `node_benchmark`, as people call it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

QUICK = ["--seconds", "2", "--warm-up", "0.5", "--width", "160", "--height", "120", "-p", "image_size:=128"]


def node_benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sam2_ros.node_benchmark", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_number_of_objects_is_measured_with_every_number_of_busy_programs(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    done = node_benchmark(*QUICK, "--objects", "1,2", "--busy", "0,1", "--json", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sam2_nano at 128" in done.stdout
    assert len(done.stdout.splitlines()) == 6
    rows = json.loads(path.read_text())
    assert [(row["objects"], row["busy"]) for row in rows] == [(1, 0), (2, 0), (1, 1), (2, 1)]
    for row in rows:
        assert row["frames_per_second"] > 0
        assert 0 < row["latency_p50"] <= row["latency_p95"]
        assert row["passes"] == pytest.approx(1000 / row["frames_per_second"] / row["trunk"])
        assert row["bare"] > row["trunk"] > 0
        assert int(row["threads"]) >= 1


def test_a_polite_kill_leaves_nothing_running() -> None:
    command = [sys.executable, "-m", "sam2_ros.node_benchmark", *QUICK, "--busy", "1", "--seconds", "600"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    own = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 120
    while len(children := own.read_text().split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert len(children) == 2, "the node and a busy program"
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def test_what_the_node_refuses_ends_it_with_the_reason() -> None:
    done = node_benchmark(*QUICK, "-p", "model:=sam9")
    assert done.returncode == 1
    assert "'sam9'" in done.stderr
    assert "node_benchmark: the node could not be configured: its error stands above" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--objects", "0"], "argument --objects: 0 is not above 0"),
        (["--seconds", "nan"], "argument --seconds: 'nan' is not above 0"),
        (["--json", "."], "--json . is a folder: give a file's name"),
        ([*QUICK, "--objects", "20"], "the node tracks at most 16: give -p max_objects:=20"),
        ([*QUICK, "-p", "image_transport:=compressed"], "image_transport:=compressed: give raw"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], message: str) -> None:
    done = node_benchmark(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr

"""The packages are complete: metadata, interfaces, and what pip and colcon install, in which place."""

from __future__ import annotations

import ast
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED_FOLDERS = ("launch", "config", "rviz")

# Modules that sam2_ros may import beside ROS 2 and itself -> the rosdep key that brings them; None: pip does.
OTHER_MODULES = {"cv2": "python3-opencv", "numpy": "python3-numpy", "torch": None, "yaml": "python3-yaml"}

# Type hashes of vision_msgs 4.1.1, as its own package gives them.
VISION_MSGS_HASHES = {
    "BoundingBox2D": "RIHS01_008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "Detection2D": "RIHS01_0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "Detection2DArray": "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "ObjectHypothesis": "RIHS01_51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "ObjectHypothesisWithPose": "RIHS01_41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "Point2D": "RIHS01_eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "Pose2D": "RIHS01_b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
}


def manifest(folder: Path):  # type: ignore[no-untyped-def]
    """The package.xml of a folder, read as ROS's tools read it; they raise for what is not valid."""
    package = pytest.importorskip("catkin_pkg.package")
    return package.parse_package(str(folder), warnings=None)


def imported_modules(folder: Path) -> set[str]:
    """The top-level names that the Python files below a folder import."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(str(node.module).split(".")[0])
    return names - set(sys.stdlib_module_names)


def shared_files() -> list[str]:
    """What launch/, config/ and rviz/ hold, relative to the package."""
    paths = [path for folder in SHARED_FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(ROOT)) for path in paths if "__pycache__" not in path.parts)


# --- metadata


@pytest.mark.parametrize("folder", [".", "sam2_msgs", "compat/vision_msgs"])
def test_a_manifest_is_valid_and_of_format_3(folder: str) -> None:
    package = manifest(ROOT / folder)
    assert package.package_format == 3
    package.validate()
    assert list(package.licenses) == ["Apache-2.0"]


def test_all_parts_carry_one_version() -> None:
    assert manifest(ROOT).version == manifest(ROOT / "sam2_msgs").version == version("sam2_ros")


def test_the_manifest_names_every_ros_package_that_is_imported() -> None:
    declared = {dependency.name for dependency in manifest(ROOT).exec_depends}
    used = imported_modules(ROOT / "sam2_ros") | imported_modules(ROOT / "launch")
    for module in used - {"sam2_core", "sam2_ros"}:
        needed = OTHER_MODULES.get(module, module)
        assert needed is None or needed in declared, f"sam2_ros imports {module}: package.xml lacks {needed}"


def test_the_tracker_imports_no_ros() -> None:
    ros = {dependency.name for dependency in manifest(ROOT).exec_depends} - set(OTHER_MODULES.values())
    assert not imported_modules(ROOT / "sam2_core") & (ros | {"sam2_ros"})


def test_every_requirement_is_pinned_exactly() -> None:
    pin = re.compile(r'[\w.-]+==[\w.]+(; python_version (<|>=) "3\.\d+")?')
    for path in (ROOT / "requirements").glob("*.txt"):
        for line in path.read_text().splitlines():
            if line and not line.startswith("#"):
                assert pin.fullmatch(line), f"{path.name}: {line}"


@pytest.mark.parametrize("name", ["sam2", "tracker_node", "video_publisher"])
def test_a_command_leads_to_a_function(name: str) -> None:
    (command,) = [entry for entry in entry_points(group="console_scripts", name=name) if entry.dist]
    assert callable(command.load())


# --- interfaces


def test_the_services_have_the_fields_that_clients_rely_on() -> None:
    from sam2_msgs.srv import Discover, Prompt, Remove

    assert Prompt.Request.get_fields_and_field_types() == {
        "header": "std_msgs/Header",
        "object_id": "uint32",
        "restart": "boolean",
        "label": "string",
        "points": "sequence<geometry_msgs/Point>",
        "point_labels": "sequence<int32>",
        "box": "sequence<float>",
        "mask": "sensor_msgs/Image",
    }
    assert Prompt.Response.get_fields_and_field_types() == {
        "success": "boolean",
        "message": "string",
        "object_id": "uint32",
        "score": "float",
        "presence": "float",
        "box": "sensor_msgs/RegionOfInterest",
    }
    assert Discover.Request.get_fields_and_field_types() == {
        "region": "sequence<float>",
        "max_objects": "uint32",
        "min_quality": "float",
    }
    assert Discover.Response.get_fields_and_field_types() == {
        "success": "boolean",
        "message": "string",
        "object_ids": "sequence<uint32>",
        "scores": "sequence<float>",
        "boxes": "sequence<sensor_msgs/RegionOfInterest>",
    }
    assert Remove.Request.get_fields_and_field_types() == {"object_ids": "sequence<uint32>"}
    assert Remove.Response.get_fields_and_field_types() == {
        "success": "boolean",
        "message": "string",
        "object_ids": "sequence<uint32>",
    }


@pytest.mark.parametrize("name", VISION_MSGS_HASHES)
def test_vision_msgs_hashes_as_the_real_package_does(name: str) -> None:
    from ament_index_python.packages import get_package_share_directory

    share = Path(get_package_share_directory("vision_msgs"))
    description = json.loads((share / "msg" / f"{name}.json").read_text())
    hashes = {entry["type_name"]: entry["hash_string"] for entry in description["type_hashes"]}
    assert hashes[f"vision_msgs/msg/{name}"] == VISION_MSGS_HASHES[name]


# --- installations


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what setup.py installs from, so that building leaves nothing in the source tree."""
    copy = tmp_path_factory.mktemp("source") / "sam2_ros"
    unwanted = shutil.ignore_patterns("*.pt", "__pycache__", "*.egg-info")
    for name in ("sam2_core", "sam2_ros", "sam2_msgs", "resource", "checkpoints", *SHARED_FOLDERS):
        shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "package.xml", "MANIFEST.in", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


def run(*command: object, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """Runs a program that has to succeed; what it printed."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_installed_in(prefix: Path) -> None:
    """That weights, shared files and the entry in ament's index lie below a prefix, as in the source."""
    share = prefix / "share"
    assert (share / "ament_index/resource_index/packages/sam2_ros").is_file()
    for name in ("package.xml", *shared_files()):
        assert filecmp.cmp(ROOT / name, share / "sam2_ros" / name, shallow=False), name
    (package,) = prefix.glob("lib/python3*/site-packages/sam2_core")
    find = f"import sys; sys.path.insert(0, {str(package.parent)!r}); import sam2_core.embedded as embedded; "
    found = run(sys.executable, "-c", find + "print(embedded.embedded_weights_path('sam2_nano'))", cwd=prefix)
    assert Path(found.strip()).is_relative_to(package)
    assert filecmp.cmp(ROOT / "checkpoints/sam2_nano.safetensors", found.strip(), shallow=False)


def test_pip_installs_everything(source: Path, tmp_path: Path) -> None:
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--ignore-installed", "--prefix", tmp_path)
    run(sys.executable, "-m", "pip", "install", *options, source, cwd=tmp_path)
    assert_installed_in(tmp_path)
    assert {"sam2", "tracker_node", "video_publisher"} <= {path.name for path in (tmp_path / "bin").iterdir()}


def test_colcon_installs_everything_and_ros2_run_finds_the_nodes(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("colcon_core")
    colcon = (sys.executable, "-m", "colcon", "--log-base", tmp_path / "log")
    paths = ("--base-paths", source, source / "sam2_msgs")
    seen = run(*colcon, "list", "--names-only", *paths, cwd=tmp_path)
    assert seen.split() == ["sam2_msgs", "sam2_ros"]
    run(*colcon, "build", *paths, "--packages-select", "sam2_ros", cwd=tmp_path)
    prefix = tmp_path / "install/sam2_ros"
    assert_installed_in(prefix)
    for name in ("tracker_node", "video_publisher"):
        assert os.access(prefix / "lib/sam2_ros" / name, os.X_OK)


def test_the_environment_needs_nothing_sourced(tmp_path: Path) -> None:
    if os.environ.get("ROS_DISTRO"):
        pytest.skip("a ROS 2 distribution is sourced here: it has to be")
    imports = "import rclpy.type_support, sam2_core, sam2_msgs.srv, sam2_ros, vision_msgs.msg"
    script = f"{imports}; rclpy.type_support.check_for_type_support(sam2_msgs.srv.Prompt)"
    run(sys.executable, "-c", script, cwd=tmp_path, environment={"HOME": str(tmp_path)})


def test_sourcing_the_interfaces_works_as_well(tmp_path: Path) -> None:
    script = f". {ROOT}/install/setup.sh && echo $AMENT_PREFIX_PATH && echo $LD_LIBRARY_PATH"
    environment = {"PATH": os.environ["PATH"]}
    prefixes, libraries = run("sh", "-c", script, cwd=tmp_path, environment=environment).splitlines()
    assert f"{ROOT}/install/sam2_msgs" in prefixes.split(":")
    assert f"{ROOT}/install/sam2_msgs/lib" in libraries.split(":")


# --- setting up


def missing_prerequisites(path: Path, python: str) -> str:
    """What the check says where only the programs in a folder are to be found."""
    done = subprocess.run(
        [shutil.which("bash") or "bash", ROOT / "scripts/check_prerequisites.sh", python],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout
    return done.stderr


def test_all_missing_programs_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "git").touch(mode=0o755)
    message = missing_prerequisites(tmp_path, "python3")
    assert "Python 3.10 or newer" in message
    assert "make" in message
    assert "C++ compiler" in message
    assert "- git" not in message


def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.8.18" && exit 0\nexit 1\n')
    old.chmod(0o755)
    assert "'python3' is Python 3.8.18" in missing_prerequisites(tmp_path, "python3")

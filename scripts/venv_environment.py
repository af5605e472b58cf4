"""Makes ROS 2 usable from the virtual environment with nothing sourced.

`make setup` puts a copy of this file into the environment's site-packages, where a .pth file imports it
whenever the environment's Python starts. It does for the environment and for the interfaces built below
INSTALL_BASE what sourcing `install/setup.bash` does for a shell: ament's prefixes, Python's path and the
dynamic linker's path. The linker reads its path when a process starts, so where it was incomplete, the
interpreter is started once more.
"""

import glob
import os
import sys

INSTALL_BASE = "@INSTALL_BASE@"

# The ROS wheels bring a start-up hook that sets the linker's path alike; this tells it that it has been done.
WHEELS_GUARD = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"


def _missing(variable: str, wanted: list[str]) -> list[str]:
    present = os.environ.get(variable, "").split(os.pathsep)
    return [path for path in wanted if path not in present]


def _prepend(variable: str, paths: list[str]) -> None:
    present = [path for path in os.environ.get(variable, "").split(os.pathsep) if path]
    os.environ[variable] = os.pathsep.join([*paths, *present])


def activate() -> None:
    """Set up this process, starting it anew where the linker's path has to change."""
    site_packages = os.path.dirname(os.path.abspath(__file__))
    indices = sorted(glob.glob(os.path.join(INSTALL_BASE, "*", "share", "ament_index")))
    prefixes = [os.path.dirname(os.path.dirname(index)) for index in indices]

    for prefix in prefixes:
        for pattern in ("lib/python3*/site-packages", "local/lib/python3*/dist-packages"):
            for path in glob.glob(os.path.join(prefix, pattern)):
                if path not in sys.path:
                    sys.path.append(path)

    _prepend("AMENT_PREFIX_PATH", _missing("AMENT_PREFIX_PATH", [*prefixes, sys.prefix]))

    libraries = [os.path.join(prefix, "lib") for prefix in prefixes]
    wheels_libraries = sorted(glob.glob(os.path.join(site_packages, "ros_*.libs")))
    if wheels_libraries:
        libraries += [os.path.join(sys.prefix, "lib"), *wheels_libraries]
    missing = _missing("LD_LIBRARY_PATH", libraries)
    if missing:
        _prepend("LD_LIBRARY_PATH", missing)
        os.environ[WHEELS_GUARD] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def wanted() -> bool:
    """Whether this start of the interpreter is one to set up."""
    # A program that embeds Python has no command line to repeat.
    if not sys.executable or sys.prefix == sys.base_prefix:
        return False
    # The set-up scripts below INSTALL_BASE ask this Python what the shell that sources them still lacks: they
    # have to see that shell's own environment.
    return not any("_local_setup_util" in argument for argument in sys.orig_argv[1:3])


if wanted():
    activate()

"""Installs the tracker (sam2_core) and the node (sam2_ros): with pip, or as an ament_python package."""

import os
from pathlib import Path

from setuptools import find_packages, setup

package_name = "sam2_ros"

# Named through the file itself: with --symlink-install, colcon runs a link to it in another folder.
checkpoints = os.path.relpath(Path(__file__).resolve().parent / "checkpoints")


def files(pattern: str) -> list[str]:
    """The files of the source tree that match."""
    return sorted(map(str, Path().glob(pattern)))


setup(
    name=package_name,
    version="0.1.0",
    description="A camera tracker for ROS 2: point at an object once, get its mask and box from every image.",
    license="Apache-2.0",
    author="sam2_ros maintainers",
    author_email="maintainers@sam2-ros.example",
    maintainer="sam2_ros maintainers",
    maintainer_email="maintainers@sam2-ros.example",
    python_requires=">=3.10",
    # What lies in checkpoints/ becomes the package sam2_core.weights where files are copied.
    packages=[*find_packages(include=["sam2_core*", "sam2_ros*"]), "sam2_core.weights"],
    package_dir={"sam2_core.weights": checkpoints},
    package_data={"sam2_core.weights": ["sam2_nano.safetensors", "README.md"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
        (f"share/{package_name}/launch", files("launch/*.launch.py")),
        (f"share/{package_name}/config", files("config/*.yaml")),
        (f"share/{package_name}/rviz", files("rviz/*.rviz")),
    ],
    install_requires=[
        "matplotlib",
        "numpy>=1.26",
        "opencv-contrib-python-headless>=4.5,<5",
        "pillow",
        "pycocotools",
        "safetensors>=0.4",
        "torch>=2.6",
        "tqdm",
    ],
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "sam2 = sam2_core.cli:main",
            "node_benchmark = sam2_ros.node_benchmark:main",
            "tracker_node = sam2_ros.tracker_node:main",
            "video_publisher = sam2_ros.video_publisher:main",
        ],
    },
)

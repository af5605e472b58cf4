"""The one place that knows the nodes' parameters: a dataclass per node is its table of parameters.

Each field is a parameter: its name, type and default are the field's own, its description and limits stand in
`parameter(...)`. What is declared to ROS, what `ros2 param describe` shows, what the launch file offers as
arguments and what the node reads all come from that table.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from rcl_interfaces.msg import ParameterDescriptor
    from rclpy.node import Node
    from rclpy.parameter import Parameter

Value = bool | int | float | str | tuple[str, ...]


class ParameterError(ValueError):
    """A parameter was given a value that cannot be used; the message names it and the way out."""


@dataclass(frozen=True)
class Specification:
    """What is known of a parameter.

    Attributes:
        name: of the parameter.
        default: its value where nothing is given; a tuple stands for a list of strings.
        description: one or two sentences for people.
        minimum: smallest number allowed, None for no limit.
        maximum: largest number allowed.
        choices: the texts allowed, None for any. A function, so that the table can be read without what it
            looks at.
        check: says what is wrong with a value, or None if nothing is.
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: Callable[[], Sequence[str]] | None = None
    check: Callable[[Any], str | None] | None = None

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value of the right type and within the range, or None."""
        if self.choices is not None and value not in self.choices():
            return f"{self.name} '{value}' is unknown: choose one of {', '.join(self.choices())}"
        return self.check(value) if self.check is not None else None

    def descriptor(self) -> ParameterDescriptor:
        """The specification as ROS puts it."""
        from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

        descriptor = ParameterDescriptor(name=self.name, description=self.description)
        if self.choices is not None:
            descriptor.additional_constraints = f"one of {', '.join(self.choices())}"
        if self.minimum is not None and self.maximum is not None:
            if isinstance(self.default, float):
                span = FloatingPointRange(
                    from_value=float(self.minimum), to_value=float(self.maximum), step=0.0
                )
                descriptor.floating_point_range = [span]
            else:
                steps = IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum), step=1)
                descriptor.integer_range = [steps]
        return descriptor


def parameter(
    default: Value,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Callable[[], Sequence[str]] | None = None,
    check: Callable[[Any], str | None] | None = None,
) -> Any:
    """A dataclass field that is a parameter; see `Specification`."""
    limits = {"minimum": minimum, "maximum": maximum, "choices": choices, "check": check}
    return field(default=default, metadata={"description": description, **limits})


def specifications(settings: type) -> list[Specification]:
    """The parameters of a settings class, in the order of its fields."""
    fields: tuple[Any, ...] = dataclasses.fields(settings)
    return [Specification(item.name, item.default, **item.metadata) for item in fields]


def _models() -> Sequence[str]:
    from sam2_core.configs import MODELS

    return list(MODELS)


def _policies() -> Sequence[str]:
    from sam2_core.memory_policies import POLICIES

    return ["auto", *POLICIES]


def _precisions() -> Sequence[str]:
    from sam2_core.loading import PRECISIONS

    return PRECISIONS


def _check_image_size(size: int) -> str | None:
    if size == 0 or (size >= 64 and size % 32 == 0):
        return None
    return f"image_size {size} is no multiple of 32 from 64 on: give 0 for the model's own, or 256, 512, 1024"


def _check_device(device: str) -> str | None:
    if re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:\d+)?", device, re.ASCII):
        return None
    return f"device '{device}' is unknown: give auto, cpu, cuda, cuda:0, cuda:1, ..."


LONGEST_CAMERA_NAME = 100
"""Letters; ROS takes topics of at most 247, namespaces and all."""


def _check_cameras(cameras: Sequence[str]) -> str | None:
    if not cameras:
        return "cameras is empty: name at least one, for example [camera]"
    for name in cameras:
        if len(name) > LONGEST_CAMERA_NAME:
            return (
                f"cameras has '{name}', a name of {len(name)} letters: "
                f"give at most {LONGEST_CAMERA_NAME}, as the names of its topics become longer"
            )
        if not re.fullmatch(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", name, re.ASCII) or "__" in name:
            return (
                f"cameras has '{name}', which is no relative topic name: use letters, digits, _ and /, "
                "and neither begin with / nor with a digit"
            )
    if len(set(cameras)) < len(cameras):
        return f"cameras names one twice: {', '.join(cameras)}"
    return None


def _transports() -> Sequence[str]:
    return ["raw", "compressed"]


@dataclass(frozen=True)
class TrackerSettings:
    """The parameters of the node `sam2`. They are read when the node is configured."""

    model: str = parameter(
        "sam2_nano",
        "Name of the model: sam2_nano is part of this package, the others are downloaded on first use.",
        choices=_models,
    )
    checkpoint: str = parameter(
        "", "Path of a file with the model's weights. Empty: the file that belongs to the model's name."
    )
    device: str = parameter(
        "auto",
        "Where the model runs: auto (the first GPU, else the CPU), cpu, cuda, cuda:1, ...",
        check=_check_device,
    )
    image_size: int = parameter(
        0,
        "Side of the square that images are scaled to, pixels, a multiple of 32. 0: the model's own.",
        minimum=0,
        maximum=4096,
        check=_check_image_size,
    )
    precision: str = parameter(
        "auto",
        "Numbers that the model computes in: float32, bfloat16 (faster where the processor has it), "
        "auto: bfloat16 for sam2_nano on such a CPU, else float32.",
        choices=_precisions,
    )
    cameras: tuple[str, ...] = parameter(
        ("camera",),
        "Names of the cameras: for each C the node subscribes to C/image_raw and publishes below C/sam2.",
        check=_check_cameras,
    )
    image_transport: str = parameter(
        "raw", "raw subscribes to C/image_raw, compressed to C/image_raw/compressed.", choices=_transports
    )
    max_objects: int = parameter(
        16, "Most objects that are tracked at once, per camera.", minimum=1, maximum=255
    )
    prompted_frames: int = parameter(
        0,
        "How many prompted images an object's memory keeps. 0: the model's own number.",
        minimum=0,
        maximum=64,
    )
    memory_frames: int = parameter(
        0,
        "How many of the last images an object's memory keeps. 0: the model's own number.",
        minimum=0,
        maximum=64,
    )
    object_pointers: int = parameter(
        0,
        "How many object pointers an object's memory keeps. 0: the model's own number.",
        minimum=0,
        maximum=64,
    )
    memory_policy: str = parameter(
        "auto",
        "Rule that chooses what the memory keeps: auto is the model's own, fifo SAM 2's.",
        choices=_policies,
    )
    history_seconds: float = parameter(
        2.0,
        "How far back a prompt's time stamp may lie, seconds of the images' clock.",
        minimum=0.0,
        maximum=60.0,
    )
    overlay_alpha: float = parameter(
        0.5,
        "Weight of the colours in the overlay: 0 shows outlines only, 1 covers the objects.",
        minimum=0.0,
        maximum=1.0,
    )
    num_threads: int = parameter(
        0,
        "Threads that PyTorch computes with on the CPU. 0: as many as find free cores, chosen as it runs.",
        minimum=0,
        maximum=1024,
    )
    compile: bool = parameter(
        False,
        "Compile the image encoder with torch.compile: worth it on a GPU; configuring takes some seconds.",
    )


Settings = TypeVar("Settings")


class Parameters(Generic[Settings]):
    """A node's declared parameters.

    A value that is refused at start, from a file or the command line, does not end the node: the error is
    logged, `read` repeats it until the parameter has been set to something that can be used.
    """

    def __init__(self, node: Node, settings: type[Settings]) -> None:
        self._node = node
        self._settings = settings
        self._specifications = {item.name: item for item in specifications(settings)}
        self._refused: dict[str, str] = {}
        node.add_on_set_parameters_callback(self._on_set)
        for specification in self._specifications.values():
            self._declare(specification)

    def _declare(self, specification: Specification) -> None:
        from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

        name, descriptor = specification.name, specification.descriptor()
        default = (
            list(specification.default) if isinstance(specification.default, tuple) else specification.default
        )
        try:
            self._node.declare_parameter(name, default, descriptor)
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            self._node.declare_parameter(name, default, descriptor, ignore_override=True)
            # rclpy wraps the reason that matters into sentences of its own.
            reason = str(error).removesuffix(f": {name}").split("Reason: ")[-1]
            if isinstance(error, InvalidParameterTypeException):
                reason += f". {_EXPECTED[type(specification.default)]}"
            self._refused[name] = reason
            self._node.get_logger().error(f"parameter {name} is refused: {reason}")

    def _on_set(self, parameters: list[Parameter]) -> Any:
        from rcl_interfaces.msg import SetParametersResult

        for item in parameters:
            specification = self._specifications.get(item.name)
            fault = specification.fault(item.value) if specification is not None else None
            if fault is not None:
                return SetParametersResult(successful=False, reason=fault)
        for item in parameters:
            self._refused.pop(item.name, None)
        return SetParametersResult(successful=True)

    def read(self) -> Settings:
        """The values in force.

        Raises:
            ParameterError: a value given at start was refused and has not been set since.
        """
        if self._refused:
            name, reason = next(iter(self._refused.items()))
            raise ParameterError(f"parameter {name} is refused: {reason}")
        values = {name: self._node.get_parameter(name).value for name in self._specifications}
        return self._settings(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


_EXPECTED: dict[type, str] = {
    bool: "Give true or false",
    int: "Give a whole number",
    float: "Give a number with a decimal point",
    str: "Give a text; one of digits alone in two pairs of quotes, such as \"'0'\"",
    tuple: "Give a list of texts, for example [front, rear]",
}

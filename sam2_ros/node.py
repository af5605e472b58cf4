"""The managed node `sam2`: loads the model, owns the cameras."""

from __future__ import annotations

import dataclasses
import gc
import logging
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from sam2_core import CheckpointError, MemoryConfig, Tracker, load_model
from sam2_core.compiling import compile_model
from sam2_core.configs import SAM2Config
from sam2_core.live import Worker
from sam2_core.model import SAM2
from sam2_core.threads import ThreadChooser
from sam2_ros.camera import Camera
from sam2_ros.diagnostics import Diagnostics, Report
from sam2_ros.parameters import ParameterError, Parameters, TrackerSettings


class RosLogHandler(logging.Handler):
    """Passes what sam2_core logs, such as downloads and images it could not process, on to the node's log."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)


def _load(settings: TrackerSettings) -> SAM2:
    """The model, compiled now if it is to be compiled at all, not at the first image.

    Raises:
        CheckpointError: its weights can't be had.
        ValueError: a parameter does not fit it.
        RuntimeError: it cannot be compiled on this machine.
    """
    model = load_model(
        settings.model,
        checkpoint=settings.checkpoint or None,
        device=settings.device,
        image_size=settings.image_size or None,
        precision=settings.precision,
    )
    if settings.compile:
        try:
            compile_model(model)
        except RuntimeError as error:
            raise RuntimeError(f"compile true cannot be followed: {error}; set it to false") from error
    return model


class TrackerNode(LifecycleNode):
    """Tracks objects in the images of one or more cameras.

    Configuring reads the parameters and loads the model, activating subscribes, deactivating refuses what is
    pending; objects and their memory last from configuring to cleaning up.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__("sam2", **arguments)
        self._declared = Parameters(self, TrackerSettings)
        self.add_post_set_parameters_callback(self._on_set)
        self._num_threads = self._default_threads = torch.get_num_threads()
        self._chooser: ThreadChooser | None = None
        self._cameras: dict[str, Camera] = {}
        self._worker: Worker | None = None
        self._model: SAM2 | None = None
        self._model_name = ""
        self._failure = ""
        self._diagnostics = Diagnostics(self, self._reports, self._common, lambda: self._failure)
        self._log_handler = RosLogHandler(self.get_logger())
        logging.getLogger("sam2_core").addHandler(self._log_handler)

    def destroy_node(self) -> None:
        logging.getLogger("sam2_core").removeHandler(self._log_handler)
        super().destroy_node()

    def _on_set(self, parameters: list[Parameter]) -> None:
        names = [item.name for item in parameters if item.name in TrackerSettings.__dataclass_fields__]
        if names and self._model is not None:
            self.get_logger().info(
                f"{', '.join(names)}: in force once the node is cleaned up and configured again"
            )

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._configure()
        except (ParameterError, CheckpointError, ValueError, RuntimeError) as error:
            self._release()
            self._failure = f"cannot be configured: {error}"
            self.get_logger().error(self._failure)
            return TransitionCallbackReturn.FAILURE
        except Exception:
            return self._failed("configure")
        self._failure = ""
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        # The publishers first, so that they are open when the first result comes.
        outcome = super().on_activate(state)
        try:
            self._activate()
        except ParameterError as error:
            self._deactivate()
            super().on_deactivate(state)
            self.get_logger().error(f"cannot be activated: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception:
            return self._failed("activate")
        return outcome

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        outcome = self._transition("deactivate", self._deactivate, TransitionCallbackReturn.SUCCESS)
        super().on_deactivate(state)
        return outcome

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("clean up", self._release, super().on_cleanup(state))

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        # The services stay on the graph, and refuse: pending requests are answered only after this callback.
        return self._transition("shut down", self._deactivate, super().on_shutdown(state))

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("recover", self._release, super().on_error(state))

    def _transition(
        self, verb: str, work: Callable[[], None], outcome: TransitionCallbackReturn
    ) -> TransitionCallbackReturn:
        try:
            work()
        except Exception:
            return self._failed(verb)
        return outcome

    def _failed(self, verb: str) -> TransitionCallbackReturn:
        # rclpy turns an exception into an error without a word.
        self.get_logger().error(f"failed to {verb}: {traceback.format_exc()}")
        return TransitionCallbackReturn.ERROR

    def _configure(self) -> None:
        settings = self._declared.read()
        self._num_threads = settings.num_threads or self._default_threads
        torch.set_num_threads(self._num_threads)
        # OpenMP keeps a team for every thread that has computed something, and its threads wait badly once
        # there are more of them than cores: what is computed here is computed by a thread that ends.
        with ThreadPoolExecutor(1) as loader:
            self._model = loader.submit(_load, settings).result()
        self._model_name = settings.model
        if settings.num_threads == 0 and self._model.device.type == "cpu":
            self._chooser = ThreadChooser(self._default_threads)
        self._worker = Worker(self._chooser)
        memory = memory_config(self._model.config, settings)
        for name in settings.cameras:
            tracker = Tracker(self._model, memory=memory, max_objects=settings.max_objects)
            self._cameras[name] = Camera(self, name, settings, tracker, self._worker)
        self.get_logger().info(
            f"{settings.model} is loaded on {self._model.device}; cameras: {', '.join(settings.cameras)}"
        )

    def _activate(self) -> None:
        for camera in self._cameras.values():
            camera.activate()

    def _deactivate(self) -> None:
        for camera in self._cameras.values():
            camera.deactivate()

    def _release(self) -> None:
        """Gives back everything that configuring took."""
        for camera in self._cameras.values():
            camera.destroy()
        self._cameras = {}
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        self._model, self._model_name, self._chooser = None, "", None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def close(self) -> None:
        """Ends the work, whatever state the node is in; what is pending is answered as refused."""
        self._deactivate()
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _reports(self) -> dict[str, Report]:
        return {name: camera.report() for name, camera in self._cameras.items()}

    def _common(self) -> dict[str, str]:
        return {
            "state": self._state_machine.current_state[1],
            "model": self._model_name,
            "device": str(self._model.device) if self._model is not None else "",
            "threads": str(self._chooser.count if self._chooser is not None else self._num_threads),
        }


def memory_config(model: SAM2Config, settings: TrackerSettings) -> MemoryConfig:
    """The model's own memory settings with those that the parameters name in their place.

    Raises:
        ParameterError: the model can't have so many memories.
    """
    most = model.memory_slots - 1
    if settings.memory_frames > most:
        raise ParameterError(
            f"memory_frames {settings.memory_frames} is more than {settings.model} was trained with: "
            f"give 1 to {most}, or 0 for its own number"
        )
    own = model.memory
    names = ("prompted_frames", "memory_frames", "object_pointers")
    given = {name: getattr(settings, name) for name in names if getattr(settings, name)}
    policy = own.policy if settings.memory_policy == "auto" else settings.memory_policy
    return dataclasses.replace(own, policy=policy, **given)

"""What a training has to work with: the machine, and weights to begin from."""

import os
from dataclasses import dataclass

import psutil
import tensorflow as tf

from keras_retinanet.system.environment import processor_name, processor_units
from keras_retinanet.training.planning.starting_weights import StartingWeights, best_weights

# In CUDA's numbering: Ampere, the first with matrix units for bfloat16.
_BFLOAT16_CAPABILITY = (8, 0)
_FLOAT16_CAPABILITY = (7, 0)


@dataclass(frozen=True)
class Resources:
    """A machine, as far as a config depends on it.

    Attributes:
        memory: bytes, used ones included: what is free changes from one plan to the next.
        gpus: their names.
        capability: of the first GPU, in CUDA's numbering; None without one.
        units: of the processor; see `system.environment.UNITS`.
        weights: what to begin from.
    """

    processor: str
    cores: int
    memory: int
    gpus: tuple[str, ...]
    capability: tuple[int, int] | None
    units: tuple[str, ...]
    weights: StartingWeights

    @property
    def device(self) -> str:
        """What trains, in words."""
        if self.gpus:
            return f"{len(self.gpus)} GPU ({self.gpus[0]})"
        return f"{self.cores} cores of {self.processor}"

    @property
    def precision(self) -> tuple[str, str]:
        """The precision of the machine's matrix units, or float32 without any, and why."""
        if self.capability is not None:
            if self.capability >= _BFLOAT16_CAPABILITY:
                return "mixed_bfloat16", f"{self.gpus[0]} has matrix units for bfloat16"
            if self.capability >= _FLOAT16_CAPABILITY:
                return "mixed_float16", f"{self.gpus[0]} has matrix units for float16"
        elif "amx_bf16" in self.units:
            return "mixed_bfloat16", "the processor has AMX, a matrix unit for bfloat16"
        return "float32", f"{self.device}: no matrix unit for bfloat16"


def look_at_machine() -> Resources:
    """Return what this machine has; the network is asked where no weights are at hand."""
    devices = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(device) for device in devices]
    return Resources(
        processor=processor_name(),
        cores=os.cpu_count() or 1,
        memory=psutil.virtual_memory().total,
        gpus=tuple(
            about.get("device_name") or device.name
            for about, device in zip(details, devices, strict=True)
        ),
        capability=details[0].get("compute_capability") if details else None,
        units=tuple(processor_units()),
        weights=best_weights(has_gpu=bool(devices)),
    )

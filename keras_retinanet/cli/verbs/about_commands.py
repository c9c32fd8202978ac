"""retinanet configs, and retinanet doctor: what is there to work with."""

from pathlib import Path

import typer
from rich.table import Table

from keras_retinanet.cli.arguments import AsJson
from keras_retinanet.cli.console import out, plain, tell
from keras_retinanet.config.shipped import shipped_configs
from keras_retinanet.system.environment import Fact, describe_environment


def configs(as_json: AsJson = False) -> None:
    """List the configs that come with the package; `retinanet config NAME` shows one."""
    shipped = shipped_configs()
    if as_json:
        tell({config.name: config.purpose for config in shipped})
        return
    table = Table("config", "for", box=None, pad_edge=False)
    for config in shipped:
        table.add_row(plain(config.name), plain(config.purpose))
    out.print(table)


def doctor(as_json: AsJson = False) -> None:
    """Show versions, devices, processor, memory, disk and optional packages.

    Exit status: 0 if all is well, 1 with a warning.
    """
    facts = [*describe_environment(Path.cwd()), _devices()]
    warnings = [fact.warning for fact in facts if fact.warning]
    if as_json:
        tell({"facts": {f.name: f.value for f in facts}, "warnings": warnings})
    else:
        table = Table("", "", box=None, pad_edge=False, show_header=False)
        for fact in facts:
            table.add_row(plain(fact.name), plain(fact.value))
        out.print(table)
        for warning in warnings:
            out.print(f"[yellow]warning:[/] {plain(warning)}")
    raise typer.Exit(1 if warnings else 0)


def _devices() -> Fact:
    try:
        import tensorflow as tf

        devices = tf.config.list_physical_devices()
    except Exception as error:  # whatever keeps TensorFlow from starting is what is to be told
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Fact("devices", "none", f"TensorFlow does not start: {reason}")
    kinds = [device.device_type for device in devices]
    value = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    if not any(kind in ("GPU", "TPU") for kind in kinds):
        value += "; no accelerator: trainings run on the processor"
    return Fact("devices", value)

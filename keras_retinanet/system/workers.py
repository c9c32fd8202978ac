"""Which process this is among those that train together, from TF_CONFIG. No TensorFlow."""

import json
import os
from dataclasses import dataclass

from keras_retinanet.errors import ConfigError

CLUSTER_VARIABLE = "TF_CONFIG"


@dataclass(frozen=True)
class Worker:
    """This process among those that train together; the chief alone writes files."""

    index: int = 0
    count: int = 1

    @property
    def is_chief(self) -> bool:
        return self.index == 0


def this_worker() -> Worker:
    """Return which worker of TF_CONFIG's cluster this process is; the only one without.

    Raises:
        ConfigError: TF_CONFIG cannot be understood.
    """
    addresses, kind, index = read_cluster()
    if len(addresses) <= 1:
        return Worker()
    if kind == "chief":
        return Worker(0, len(addresses))
    return Worker(index + _num_chiefs(), len(addresses))


def read_cluster() -> tuple[list[str], str, int]:
    """Return the addresses of all workers, and this process' kind and index, from TF_CONFIG."""
    text = os.environ.get(CLUSTER_VARIABLE)
    if not text:
        return [], "worker", 0
    try:
        content = json.loads(text)
        cluster = content.get("cluster", {})
        task = content.get("task", {})
        addresses = [*cluster.get("chief", []), *cluster.get("worker", [])]
        kind, index = task.get("type", "worker"), int(task.get("index", 0))
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{CLUSTER_VARIABLE} = {text!r}: expected JSON of the form "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        ) from error
    if cluster.get("ps"):
        raise ConfigError(f"{CLUSTER_VARIABLE} names parameter servers, which Keras 3 cannot use")
    if len(addresses) > 1 and (kind not in ("chief", "worker") or index >= len(cluster[kind])):
        raise ConfigError(
            f"{CLUSTER_VARIABLE}: the task {kind} {index} is not in the cluster of {addresses}"
        )
    return addresses, kind, index


def _num_chiefs() -> int:
    return len(json.loads(os.environ[CLUSTER_VARIABLE])["cluster"].get("chief", []))

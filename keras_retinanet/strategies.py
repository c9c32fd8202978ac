"""Which devices train: one, all of this machine, several machines (TF_CONFIG), or a TPU."""

import functools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

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


def make_strategy(kind: str = "auto", *, tpu: str = "") -> tf.distribute.Strategy:
    """Return the strategy to build and fit a model under.

    Several workers and TPUs want to be set up before anything else of TensorFlow runs.

    Args:
        kind: "one_device"; "mirrored" (the GPUs of this machine, or its logical CPUs);
            "multi_worker" (the cluster in TF_CONFIG); "tpu"; or "auto": multi_worker if TF_CONFIG
            names more than one worker, mirrored if there are several devices, else one device.
        tpu: name or address of the TPU; "" is the one that the environment names.

    Raises:
        ConfigError: what was asked for is not there.
    """
    if kind == "auto":
        kind = "multi_worker" if len(_cluster()[0]) > 1 else "mirrored"
    if kind == "multi_worker":
        return _multi_worker(os.environ.get(CLUSTER_VARIABLE, ""))
    if kind == "tpu":
        return _tpu(tpu)
    if kind == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) > 1:
            return _mirrored(tuple(device.name for device in devices))
    return tf.distribute.get_strategy()


def this_worker() -> Worker:
    """Return which worker of TF_CONFIG's cluster this process is; the only one without.

    Raises:
        ConfigError: TF_CONFIG cannot be understood.
    """
    addresses, kind, index = _cluster()
    if len(addresses) <= 1:
        return Worker()
    if kind == "chief":
        return Worker(0, len(addresses))
    return Worker(index + _num_chiefs(), len(addresses))


def stop_agreement(
    strategy: tf.distribute.Strategy, worker: Worker, asked: Callable[[], bool]
) -> Callable[[], bool]:
    """Return `asked`, which with several workers is true for all as soon as it is for one.

    All have to call it at the same step: one that stops alone would leave the others waiting.
    """
    if worker.count == 1:
        return asked

    @tf.function(autograph=False)
    def over_all(is_asked: tf.Tensor) -> tf.Tensor:
        of_replicas = strategy.run(tf.identity, args=(is_asked,))
        return strategy.reduce("SUM", of_replicas, axis=None)

    return lambda: bool(over_all(tf.constant(float(asked()))) > 0)


def _cluster() -> tuple[list[str], str, int]:
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


# One for the process: the collectives of a second one on the same devices clash with its own.
@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(list(devices))


@functools.cache
def _multi_worker(cluster: str) -> tf.distribute.Strategy:
    if not cluster:
        raise ConfigError(
            f"training.strategy = multi_worker needs {CLUSTER_VARIABLE} in the environment; "
            "bin/local_cluster shows how"
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ConfigError(f"the cluster in {CLUSTER_VARIABLE} cannot be joined: {error}") from error


@functools.cache
def _tpu(name: str) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        wanted = f" {name!r}" if name else ""
        raise ConfigError(f"training.strategy = tpu: there is no TPU{wanted}: {error}") from error
    return tf.distribute.TPUStrategy(resolver)

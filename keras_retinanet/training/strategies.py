"""Which devices train: one, all of this machine, several machines (TF_CONFIG), or a TPU."""

import functools
import os
from collections.abc import Callable

import tensorflow as tf

from keras_retinanet.errors import ConfigError
from keras_retinanet.system.workers import CLUSTER_VARIABLE, Worker, read_cluster


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
        kind = "multi_worker" if len(read_cluster()[0]) > 1 else "mirrored"
    if kind == "multi_worker":
        return _multi_worker(os.environ.get(CLUSTER_VARIABLE, ""))
    if kind == "tpu":
        return _tpu(tpu)
    if kind == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) > 1:
            return _mirrored(tuple(device.name for device in devices))
    return tf.distribute.get_strategy()


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

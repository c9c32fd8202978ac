"""The tf.data service: workers on other machines that make the batches."""

import re
import socket

import tensorflow as tf

from keras_retinanet.errors import ConfigError

CONNECT_SECONDS = 10


def distributed(batches: tf.data.Dataset, address: str) -> tf.data.Dataset:
    """Return the batches as the workers of the service at `address` make them, each of them once.

    Raises:
        ConfigError: nothing answers at the address.
    """
    check_address(address)
    return batches.apply(
        tf.data.experimental.service.distribute(
            processing_mode=tf.data.experimental.service.ShardingPolicy.DYNAMIC, service=address
        )
    )


def refuse_with_service(*, num_workers: int, has_cache: bool) -> None:
    """Raise ConfigError for what cannot go with a data service."""
    if num_workers > 1:
        raise ConfigError("training.data_service does not go with several training workers")
    if has_cache:
        raise ConfigError("training.cache: the workers of training.data_service cannot use it")


def check_address(address: str) -> None:
    """Refuse an address at which nothing listens: TensorFlow would try for ever."""
    match = re.fullmatch(r"grpc://(.+):(\d+)", address)
    if match is None:
        raise ConfigError(f"training.data_service = {address!r}: expected grpc://host:port")
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"training.data_service = {address}: no answer ({error}): start the dispatcher, or set "
            "training.data_service=null"
        ) from error

"""The images of a request in batches of one canvas each, as each image has it alone. TensorFlow."""

from collections.abc import Callable

import tensorflow as tf

from keras_retinanet.conventions import Tensor

# The maps of all images that are computed at once are in memory together. Two batches overlap: what
# runs on one core, such as NMS, of one of them beside the network of the other.
MOST_AT_ONCE = 4
_BATCHES_AT_ONCE = 2

Images = tuple[tf.TensorArray, Tensor, Tensor]


def prepared(
    files: Tensor,
    prepare: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]],
    pixels: str,
) -> Images:
    """Return the network's inputs for files [N], one by one.

    Args:
        prepare: a file -> the input [H, W, 3], its size without padding [2] int32, and whether the
            file was an image.
        pixels: the inputs' type.

    Returns:
        The inputs, each with its own H and W, their sizes [N, 2], and [N] bool.
    """
    count = tf.shape(files)[0]
    arrays = (
        tf.TensorArray(pixels, count, infer_shape=False, element_shape=(None, None, 3)),
        tf.TensorArray(tf.int32, count, element_shape=(2,)),
        tf.TensorArray(tf.bool, count, element_shape=()),
    )

    def step(i: Tensor, arrays: tuple[tf.TensorArray, ...]) -> tuple:
        values = prepare(files[i])
        return i + 1, tuple(a.write(i, v) for a, v in zip(arrays, values, strict=True))

    _, (inputs, sizes, is_valid) = tf.while_loop(lambda i, _: i < count, step, (0, arrays))
    return inputs, sizes.stack(), is_valid.stack()


def by_canvas(
    inputs: tf.TensorArray,
    sizes: Tensor,
    canvases: Tensor,
    detect: Callable[[Tensor, Tensor], dict[str, Tensor]],
    signature: dict[str, tf.TensorSpec],
) -> dict[str, Tensor]:
    """Return what `detect` finds in each input, called with at most MOST_AT_ONCE of one canvas.

    No image is padded for another: each is on the canvas that it would have alone.

    Args:
        inputs: N, each [H, W, 3].
        sizes: [N, 2], heights and widths without padding.
        canvases: [N, 2], the H and W of each.
        detect: inputs [n, H, W, 3] and sizes [n, 2] -> outputs, each [n, ...].
        signature: of the outputs for one image.
    """
    count = tf.shape(sizes)[0]
    found = {
        name: tf.zeros(tf.concat([[count], spec.shape], axis=0), spec.dtype)
        for name, spec in signature.items()
    }

    def step(is_left: Tensor, found: dict[str, Tensor]) -> tuple:
        first = tf.argmax(is_left)  # of equal values, the first
        is_like_it = tf.reduce_all(canvases == canvases[first], axis=1)
        index = tf.where(is_left & is_like_it)[:MOST_AT_ONCE]
        batch = inputs.gather(tf.cast(index[:, 0], tf.int32))
        outputs = detect(batch, tf.gather_nd(sizes, index))
        found = {
            name: tf.tensor_scatter_nd_update(found[name], index, outputs[name]) for name in found
        }
        done = tf.zeros(tf.shape(index)[0], tf.bool)
        return tf.tensor_scatter_nd_update(is_left, index, done), found

    _, found = tf.while_loop(
        lambda is_left, _: tf.reduce_any(is_left),
        step,
        (tf.ones(count, tf.bool), found),
        shape_invariants=(
            tf.TensorShape((None,)),
            {name: tf.TensorShape((None, *spec.shape)) for name, spec in signature.items()},
        ),
        parallel_iterations=_BATCHES_AT_ONCE,
    )
    return found

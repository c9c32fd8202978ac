"""Resident memory of one process that exports to TFLite again and again: it is to stay flat."""

import gc
import os
import tempfile

import measure


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--exports", type=int, default=200)
    parser.add_argument("--every", type=int, default=50, help="exports between two lines")
    parser.add_argument("--precision", default="float32", help="float32, float16 or dynamic")
    options = parser.parse_args()

    import keras
    import psutil

    from keras_retinanet import InputPolicy, RetinaNet
    from keras_retinanet.export.export import export_model
    from keras_retinanet.export.tflite.tflite_exporter import TFLiteExporter

    # As little network as there can be: what is left over does not depend on it.
    x = images = keras.Input((None, None, 3))
    features = []
    for stride in (8, 2, 2):
        x = keras.layers.Conv2D(8, stride, stride, activation="relu")(x)
        features.append(x)
    model = RetinaNet(
        keras.Model(images, features),
        num_classes=3,
        fpn_channels=16,
        head_channels=16,
        head_depth=1,
        input_policy=InputPolicy("stretch", size=64),
    )
    process = psutil.Process(os.getpid())
    for number in range(options.exports + 1):
        if number % options.every == 0:
            gc.collect()
            print(f"{number:>5} exports: {process.memory_info().rss / 2**20:.0f} MB", flush=True)
        if number < options.exports:
            with tempfile.TemporaryDirectory() as folder:
                export_model(model, folder, TFLiteExporter(precision=options.precision))


if __name__ == "__main__":
    main()

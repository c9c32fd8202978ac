"""Milliseconds an image of the post-processing, with as many candidates in every level as asked."""

import measure


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--width", type=int, default=1088)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()

    import tensorflow as tf

    from keras_retinanet import AnchorGenerator, BoxCoder
    from keras_retinanet.geometry.inference_settings import InferenceSettings
    from keras_retinanet.geometry.postprocess import decode_detections

    height, width = options.height, options.width
    generator = AnchorGenerator()
    counts = generator.num_anchors_per_level(height, width)
    anchors = generator(height, width)
    # Logits as a trained network's, low with a tail, but with more than 2000 pairs of anchor and
    # class above the threshold of 0.05 (logit -2.94) even on P7.
    logits = tf.random.stateless_normal((1, sum(counts), options.classes), (0, 0), -5.0, 2.0)
    deltas = tf.random.stateless_normal((1, sum(counts), 4), (0, 1), 0.0, 0.2)

    def run(top_k: int) -> object:
        @tf.function(autograph=False)
        def decode(logits: tf.Tensor, deltas: tf.Tensor) -> dict:
            return decode_detections(
                {"class_logits": logits, "box_deltas": deltas},
                anchors=anchors,
                num_anchors_per_level=counts,
                image_sizes=tf.constant([[height, width]]),
                box_coder=BoxCoder(),
                inference=InferenceSettings(pre_nms_top_k=top_k),
            )

        return lambda: decode(logits, deltas)["scores"].numpy()

    top_ks = (250, 500, 1000, 2000)
    seconds = measure.alternate({str(k): run(k) for k in top_ks}, rounds=options.rounds)
    milliseconds = {k: measure.spread([1000 * s for s in v]) for k, v in seconds.items()}
    print(f"{height}x{width}, {options.classes} classes, {sum(counts)} anchors, 100 detections")
    for k, values in milliseconds.items():
        print(f"{k:>5} candidates a level: {values['median']:.1f} ms (min {values['min']:.1f})")
    doubled = milliseconds["2000"]["median"] / milliseconds["1000"]["median"]
    print(f"twice the candidates (1000 -> 2000) take {doubled:.2f} times as long")
    measure.finish({"milliseconds": milliseconds, "ratio_2000_to_1000": doubled}, options.json)


if __name__ == "__main__":
    main()

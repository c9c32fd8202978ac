"""Object detectors of KerasHub itself, with random values in all of their weights."""

import numpy as np

BLOCKS = {18: ("basic_block", [2, 2, 2, 2]), 50: ("bottleneck_block", [3, 4, 6, 3])}
MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


def detector_config(*, use_p5=True, norm=True):
    """Return the config of the published presets' detector, as far as it is read."""

    def of(kind, **settings):
        return {"class_name": kind, "config": settings}

    encoder = {"stackwise_num_filters": [64, 128, 256, 512], "stackwise_num_strides": [1, 2, 2, 2]}
    encoder |= {"input_conv_filters": [64], "input_conv_kernel_sizes": [7]}
    encoder |= {"block_type": BLOCKS[50][0], "stackwise_num_blocks": BLOCKS[50][1]}
    levels = {"min_level": 3, "max_level": 7}
    converter = {"image_size": [800, 800], "crop_to_aspect_ratio": False}
    converter |= {"pad_to_aspect_ratio": True, "scale": (1 / 255 / STD).tolist()}
    converter |= {"offset": (-MEAN / STD).tolist()}
    return of(
        "RetinaNetObjectDetector",
        num_classes=91,
        use_prediction_head_norm=norm,
        anchor_generator=of(
            "AnchorGenerator", **levels, num_scales=3, aspect_ratios=[0.5, 1.0, 2.0], anchor_size=4
        ),
        backbone=of(
            "RetinaNetBackbone",
            **levels,
            use_p5=use_p5,
            image_encoder=of("ResNetBackbone", **encoder),
        ),
        preprocessor=of(
            "RetinaNetObjectDetectorPreprocessor",
            image_converter=of("RetinaNetImageConverter", **converter),
        ),
    )


def image_converter(**options):
    """Return a converter as the published presets have it."""
    import keras_hub

    settings = {"image_size": (800, 800), "crop_to_aspect_ratio": False}
    settings |= {"pad_to_aspect_ratio": True, "scale": (1 / 255 / STD).tolist()}
    settings |= {"offset": (-MEAN / STD).tolist()}
    return keras_hub.layers.RetinaNetImageConverter(**{**settings, **options})


def object_detector(*, depth=50, num_classes=7, use_p5=True, norm=True, converter=None, **options):
    """Return a detector whose values keep their size through the network.

    Args:
        use_p5: P6 is made of C5, as in the preset of torchvision v2.
        norm: GroupNorm in the heads, as there.
        converter: of images; None: the published presets'.
        options: of the backbone, the ResNet or the detector.
    """
    import keras_hub

    kind, blocks = BLOCKS[depth]
    encoder = {"block_type": kind, "stackwise_num_blocks": blocks, "use_pre_activation": False}
    encoder |= {"input_conv_filters": [64], "input_conv_kernel_sizes": [7]}
    encoder |= {"stackwise_num_filters": [64, 128, 256, 512]}
    encoder |= {"stackwise_num_strides": [1, 2, 2, 2]}
    encoder |= {name: options.pop(name) for name in [*options] if name in encoder}
    pyramid = {"min_level": 3, "max_level": 7, "use_p5": use_p5, "use_fpn_batch_norm": False}
    pyramid |= {name: options.pop(name) for name in [*options] if name in pyramid}
    backbone = keras_hub.models.RetinaNetBackbone(
        image_encoder=keras_hub.models.ResNetBackbone(**encoder), **pyramid
    )
    preprocessor = keras_hub.models.RetinaNetObjectDetectorPreprocessor(
        image_converter=converter or image_converter()
    )
    detector = keras_hub.models.RetinaNetObjectDetector(
        backbone=backbone,
        num_classes=num_classes,
        use_prediction_head_norm=norm,
        preprocessor=preprocessor,
        **options,
    )
    randomize(detector)
    return detector


def randomize(detector):
    rng = np.random.default_rng(0)
    for weight in detector.weights:
        shape, name = tuple(weight.shape), weight.path.split("/")[-1]
        if name == "kernel":
            is_last = "logits" in weight.path
            gain = 0.3 if is_last else 1.6 if "head" in weight.path else 1.0
            value = rng.normal(0, gain / np.sqrt(np.prod(shape[:-1])), shape)
        elif name == "gamma":
            # Branches add up: the last norm of each is small.
            value = rng.uniform(0.5, 1.0, shape) * (0.5 if "_3_bn" in weight.path else 1.0)
        elif name == "moving_variance":
            value = rng.uniform(0.5, 1.5, shape)
        else:  # biases and means
            value = rng.uniform(-0.2, 0.2, shape)
        weight.assign(value.astype(np.float32))


def network_inputs(pixels):
    """Return pixels of 0 to 255 as the published presets' converter scales them."""
    return ((np.asarray(pixels, np.float64) / 255 - MEAN) / STD).astype(np.float32)

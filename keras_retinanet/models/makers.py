"""Which makers a network's pyramid and subnets have."""

from collections.abc import Callable
from functools import partial

from keras_retinanet.models.fpn import feature_pyramid, light_feature_pyramid
from keras_retinanet.models.fpn_variant import variant_feature_pyramid
from keras_retinanet.models.head_variant import variant_shared_head
from keras_retinanet.models.heads import light_shared_head, shared_head
from keras_retinanet.models.variant import HEAD_SETTINGS, PAPER, PYRAMID_SETTINGS, NetworkVariant


def makers(separable: bool, variant: NetworkVariant, is_synchronized: bool) -> tuple[Callable, ...]:
    """Return what makes the pyramid, and what makes a head."""
    if separable:
        variant.refuse(*PYRAMID_SETTINGS, *HEAD_SETTINGS, reason="separable = True")
        both = light_feature_pyramid, light_shared_head
        return tuple(partial(maker, synchronized=is_synchronized) for maker in both)
    make_pyramid, make_head = feature_pyramid, shared_head
    if any(getattr(variant, name) != getattr(PAPER, name) for name in PYRAMID_SETTINGS):
        make_pyramid = partial(
            variant_feature_pyramid, variant=variant, synchronized=is_synchronized
        )
    if variant.head_norm != "none" or variant.box_level_scale:
        make_head = partial(
            variant_shared_head,
            norm=variant.head_norm,
            norm_epsilon=variant.head_norm_epsilon,
            scaled=("box_head",) if variant.box_level_scale else (),
            synchronized=is_synchronized,
        )
    return make_pyramid, make_head

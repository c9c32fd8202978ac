"""What every part agrees on: the paper's settings, each with its section, and the match values.

Signatures and `config/schema.py` both take their defaults from here, so that each value is written
once. This module imports no TensorFlow, so that the command line can read it at once.
"""

from typing import Any

# A tensor of the Keras backend in use, or what it makes one of. An alias, since no type of Keras or
# TensorFlow covers both eager and symbolic tensors of all backends.
Tensor = Any

# Matches: an anchor's value is the index of its object, or one of these (section 4, "Anchors").
BACKGROUND = -1
IGNORE = -2

# Feature levels P3 ... P7; level l has stride 2 ** l (section 4, "Feature Pyramid Network").
LEVELS = (3, 4, 5, 6, 7)

# Anchors (section 4): areas 32^2 ... 512^2 on P3 ... P7, three ratios, three sub-octave scales.
ANCHOR_SIZES = (32.0, 64.0, 128.0, 256.0, 512.0)
ANCHOR_RATIOS = (0.5, 1.0, 2.0)  # height / width
ANCHOR_SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))

# Assignment (section 4): IoU >= 0.5 is an object, < 0.4 background, the rest ignored.
POSITIVE_IOU = 0.5
NEGATIVE_IOU = 0.4
TASK_ALIGNED_ALPHA, TASK_ALIGNED_BETA, TASK_ALIGNED_CANDIDATES = 1.0, 6.0, 13  # Feng et al. 2021
ATSS_CANDIDATES = 9  # Zhang et al. 2020: results hardly depend on it from 7 to 17

# Detector (section 4).
FPN_CHANNELS = 256
HEAD_CHANNELS = 256
HEAD_DEPTH = 4
PRIOR_PROBABILITY = 0.01  # section 4.1, "Initialization"
HEAD_INIT_STDDEV = 0.01  # section 4.1, "Initialization"

# What a network may predict of its boxes beside them: nothing, a box's IoU with its object (Wu et
# al. 2019), or how central an anchor lies in its object (Tian et al. 2019; ATSS). The exponent of
# that in a score, the class' being what is left to 1 (Wu et al., eq. 7); 0.5 is FCOS' square root.
BOX_QUALITIES = ("none", "iou", "centerness")
BOX_QUALITY_SHARE = 0.5
MAX_BOX_QUALITY_SHARE = 0.9  # a score of 0.001 to the power 1 / (1 - share) is a normal float32

# Sizes are decoded to at most this many times the anchor's (Detectron's clamp).
MAX_SIZE_RATIO = 1000.0 / 16.0

# Losses (sections 3.2 and 5.1; the beta of smooth L1 is Detectron's, 1/9).
FOCAL_GAMMA = 2.0
FOCAL_ALPHA = 0.25
SMOOTH_L1_BETA = 1.0 / 9.0
FOCAL_STAR_GAMMA = 2.0  # FL* (appendix): 2 with 1, or 4 with 0
FOCAL_STAR_BETA = 1.0
OHEM_BATCH_SIZE = 128  # with this NMS threshold the best row of table 1d
OHEM_NMS_IOU = 0.5
HINGE_THRESHOLD = 0.5  # the paper gives none
QUALITY_BETA = 2.0  # Li et al. 2020
VARIFOCAL_ALPHA = 0.75  # Zhang et al. 2021
VARIFOCAL_GAMMA = 2.0

# Moving average of the batches' positives (Detectron2; peers differ in what they divide by).
NORMALIZER_MOMENTUM = 0.9
NORMALIZER_START = 100.0

# Inference (section 4.1); 100 detections are COCO's convention.
SCORE_THRESHOLD = 0.05
PRE_NMS_TOP_K = 1000
NMS_IOU_THRESHOLD = 0.5
MAX_DETECTIONS = 100

# Image scale (sections 4.1 and 5): the shorter side, with the longer side capped.
IMAGE_SIZE = 600
IMAGE_MAX_SIZE = 1333
IMAGE_PAD_MULTIPLE = 32  # the stride of C5: the top-down path then doubles sizes exactly
PAD_VALUE = 114  # grey near the ImageNet mean: padding is about zero after normalisation

# How the names of a stage's layers begin, in ResNets and in MobileNetV2: the stem is stage 1, and
# C2 ... C5 end stages 2 ... 5.
STAGE_PREFIXES = (
    ("conv1_", "Conv1", "bn_Conv1", "expanded_conv_"),
    ("conv2_", "block_1_", "block_2_"),
    ("conv3_", *(f"block_{i}_" for i in range(3, 6))),
    ("conv4_", *(f"block_{i}_" for i in range(6, 13))),
    ("conv5_", *(f"block_{i}_" for i in range(13, 17)), "Conv_1"),
)

# Tiles that large images are cut into: neighbours' overlap in shares of their side, and the least
# side in pixels that a detector makes sense of.
TILE_OVERLAP = 0.2
MIN_TILE = 32

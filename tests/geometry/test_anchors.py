import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.geometry.anchors import AnchorGenerator

# Where no other source is named, figures are those of fizyr's keras-retinanet for 800 x 1333, which
# puts centres at (i + 0.5) * stride and orders by ratio and then by scale.
HEIGHT, WIDTH = 800, 1333
GRIDS = [(100, 167), (50, 84), (25, 42), (13, 21), (7, 11)]


@pytest.fixture(scope="module")
def anchors():
    return np.asarray(AnchorGenerator()(HEIGHT, WIDTH))


def test_count(anchors):
    assert AnchorGenerator().grid_sizes(HEIGHT, WIDTH) == GRIDS
    assert AnchorGenerator().num_anchors_per_level(HEIGHT, WIDTH) == [9 * r * c for r, c in GRIDS]
    assert anchors.shape == (200_700, 4) and anchors.dtype == np.float32


def test_first_and_last(anchors):
    np.testing.assert_allclose(anchors[0], [-18.62742, -7.31371, 26.62742, 15.31371], atol=1e-4)
    last = [1056.64972, 257.29944, 1631.35028, 1406.70056]
    np.testing.assert_allclose(anchors[-1], last, atol=1e-4)


def test_base_anchors():
    base = AnchorGenerator().base_anchors(32.0)
    expected = [
        (-22.62742, -11.31371, 22.62742, 11.31371),
        (-28.50876, -14.25438, 28.50876, 14.25438),
        (-35.91879, -17.95939, 35.91879, 17.95939),
        (-16, -16, 16, 16),
    ]
    np.testing.assert_allclose(base[:4], expected, atol=1e-4)
    # The paper: areas from 32^2, three sub-octaves, ratios 1:2, 1:1, 2:1.
    width, height = base[:, 2] - base[:, 0], base[:, 3] - base[:, 1]
    np.testing.assert_allclose(height / width, np.repeat([0.5, 1, 2], 3), rtol=1e-6)
    areas = 32.0**2 * np.tile([1, 2 ** (2 / 3), 2 ** (4 / 3)], 3)
    np.testing.assert_allclose(width * height, areas, rtol=1e-6)


def test_scales_cover_32_to_813_pixels(anchors):
    sides = np.sqrt(np.prod(anchors[:, 2:] - anchors[:, :2], axis=1))
    np.testing.assert_allclose([sides.min(), sides.max()], [32.0, 812.7], rtol=1e-3)


def test_order_is_levels_then_rows_then_columns_then_the_cells(anchors):
    """Anchor by anchor, with loops."""
    generator = AnchorGenerator()
    height, width = 70, 100
    expected = []
    for level, size in zip(range(3, 8), (32, 64, 128, 256, 512)):
        stride = 2**level
        for row in range(-(-height // stride)):
            for column in range(-(-width // stride)):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                for ratio in (0.5, 1, 2):
                    for scale in (1, 2 ** (1 / 3), 2 ** (2 / 3)):
                        w, h = size * scale / ratio**0.5, size * scale * ratio**0.5
                        expected.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    np.testing.assert_allclose(generator(height, width), expected, atol=1e-4)


def test_order_scale_is_a_permutation_within_each_cell(anchors):
    by_scale = np.asarray(AnchorGenerator(order="scale")(HEIGHT, WIDTH))
    cells = anchors.reshape(-1, 3, 3, 4)  # ratio, scale
    np.testing.assert_array_equal(by_scale.reshape(-1, 3, 3, 4), cells.transpose(0, 2, 1, 3))


def test_rounded_are_torchvisions_base_anchors():
    generator = AnchorGenerator(scales=(1.0, 40 / 32, 50 / 32), order="ratio", rounded=True)
    # By torchvision's formula for sizes 32, 40, 50: round(half of size / sqrt(ratio)) and so on.
    expected = [
        (-23, -11, 23, 11),
        (-28, -14, 28, 14),
        (-35, -18, 35, 18),
        (-16, -16, 16, 16),
        (-20, -20, 20, 20),
        (-25, -25, 25, 25),
        (-11, -23, 11, 23),
        (-14, -28, 14, 28),
        (-18, -35, 18, 35),
    ]
    np.testing.assert_array_equal(generator.base_anchors(32.0), expected)


def test_offset_zero_centres_the_first_anchor_at_the_origin():
    first = AnchorGenerator(offset=0.0)(64, 64)[3]
    np.testing.assert_array_equal(first, [-16, -16, 16, 16])


@pytest.mark.parametrize(
    ("height", "width"), [(64, 64), (65, 63), (1, 1), (127, 129), (33, 250), (96, 160)]
)
def test_grid_is_the_size_over_the_stride_rounded_up(height, width):
    generator = AnchorGenerator()
    grids = [(int(np.ceil(height / s)), int(np.ceil(width / s))) for s in (8, 16, 32, 64, 128)]
    assert generator.grid_sizes(height, width) == grids
    assert len(generator(height, width)) == sum(9 * rows * columns for rows, columns in grids)


def test_dynamic_sizes_give_what_static_sizes_give():
    generator = AnchorGenerator()
    spec = tf.TensorSpec((), tf.int32)

    @tf.function(input_signature=[spec, spec])
    def graph(height, width):
        return generator(height, width), tf.stack(generator.num_anchors_per_level(height, width))

    for height, width in [(64, 64), (65, 127), (200, 31)]:
        boxes, counts = graph(height, width)
        np.testing.assert_array_equal(boxes, generator(height, width))
        np.testing.assert_array_equal(counts, generator.num_anchors_per_level(height, width))


def test_inside_tf_data():
    generator = AnchorGenerator(scales=(1.0,))
    sizes = tf.data.Dataset.from_tensor_slices([[64, 96], [65, 33]])
    for size, boxes in sizes.map(lambda s: (s, generator(s[0], s[1]))).as_numpy_iterator():
        np.testing.assert_array_equal(boxes, generator(*size.tolist()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": (32, 64)}, "one anchor size for each of the levels.*got 2"),
        ({"order": "area"}, "order must be one of.*'area'"),
        ({"scales": (1.0, 0.0)}, "must be positive"),
        ({"ratios": (-1.0,)}, "must be positive"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AnchorGenerator(**settings)


def test_levels_scales_and_ratios_are_settings():
    generator = AnchorGenerator(sizes=(10, 20), levels=(2, 4), scales=(1, 2), ratios=(1,))
    assert generator.num_per_cell == 2 and generator.strides == (4, 16)
    boxes = np.asarray(generator(16, 16))
    assert len(boxes) == (16 + 1) * 2
    np.testing.assert_array_equal(boxes[1], [-8, -8, 12, 12])
    np.testing.assert_array_equal(boxes[-2], [-2, -2, 18, 18])


def test_equal_settings_are_equal_generators():
    assert AnchorGenerator(sizes=[32, 64, 128, 256, 512]) == AnchorGenerator()
    assert hash(AnchorGenerator(ratios=[1])) == hash(AnchorGenerator(ratios=(1.0,)))


class TestTorchvisions:
    GENERATOR = AnchorGenerator(offset=0.0, rounded=True, integer_sizes=True, step="grid")

    def test_sizes_are_whole_pixels(self):
        expected = [(32, 40, 50), (64, 80, 101), (128, 161, 203), (256, 322, 406), (512, 645, 812)]
        for size, sides in zip(self.GENERATOR.sizes, expected, strict=True):
            squares = self.GENERATOR.base_anchors(size)[3:6]
            # Corners at half a pixel go to the even one, so that 101 becomes 100.
            rounded = [2 * round(side / 2) for side in sides]
            np.testing.assert_array_equal(squares[:, 2] - squares[:, 0], rounded)

    def test_first_base_anchors(self):
        """retinanet_resnet50_fpn().anchor_generator.cell_anchors[0], read in torchvision 0.28."""
        expected = [[-23, -11, 23, 11], [-28, -14, 28, 14], [-35, -18, 35, 18]]
        np.testing.assert_array_equal(self.GENERATOR.base_anchors(32.0)[:3], expected)

    def test_centres_are_the_sides_over_the_cells_apart(self):
        height, width = 427, 640  # 4 x 5 cells on P7: 106 and 128 apart
        distances = [level[2] for level in self.GENERATOR.layout(height, width)]
        assert distances == [(7, 8), (15, 16), (30, 32), (61, 64), (106, 128)]
        anchors = np.asarray(self.GENERATOR(height, width))[-9 * 20 :].reshape(4, 5, 9, 4)
        centres = (anchors[..., :2] + anchors[..., 2:]) / 2
        np.testing.assert_array_equal(centres[:, 0, 4, 1], [0, 106, 212, 318])
        np.testing.assert_array_equal(centres[0, :, 4, 0], [0, 128, 256, 384, 512])

    def test_where_sides_fit_the_levels_nothing_changes(self):
        even = AnchorGenerator(offset=0.0, rounded=True, integer_sizes=True)
        np.testing.assert_array_equal(self.GENERATOR(384, 512), even(384, 512))

    def test_in_a_graph_of_unknown_size(self):
        graph = tf.function(
            lambda height, width: self.GENERATOR(height, width),
            input_signature=[tf.TensorSpec((), tf.int32)] * 2,
        )
        np.testing.assert_array_equal(graph(427, 640), self.GENERATOR(427, 640))

    def test_unknown_steps_are_refused(self):
        with pytest.raises(ValueError, match=r"step must be one of .*not 'cell'"):
            AnchorGenerator(step="cell")

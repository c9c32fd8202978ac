import pytest

from keras_retinanet.data.images.inspection import inspect_image


@pytest.fixture
def inspected(tmp_path):
    """A function: bytes -> header of a file that holds them."""

    def inspect(image_bytes, **options):
        path = tmp_path / "image.jpg"
        path.write_bytes(image_bytes)
        return inspect_image(str(path), **options)

    return inspect

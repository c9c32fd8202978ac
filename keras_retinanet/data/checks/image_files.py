"""What reading image files gives to a check: by default, they are read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_retinanet.data.checks.conversion_check import fault_of_file
from keras_retinanet.data.images.inspection import ImageHeader, inspect_images
from keras_retinanet.data.images.scan import ScannedImage, iterate_scans


class ImageFiles:
    """The image files of a data set, and the files of the conversion that wrote it."""

    def headers(
        self, paths: Sequence[str], *, decode: bool, on_image: Callable[[], None]
    ) -> list[ImageHeader]:
        """Return the headers of files, as `inspect_images` does."""
        return inspect_images(paths, decode=decode, on_image=on_image)

    def scans(
        self, paths: Sequence[str], *, with_looks: bool, on_image: Callable[[], None]
    ) -> Iterable[ScannedImage]:
        """Return the contents of files whose headers are good, as `iterate_scans` does."""
        return iterate_scans(paths, with_looks=with_looks, on_image=on_image)

    def fault_of_file(self, path: Path, told: Mapping[str, Any]) -> str | None:
        """Return what is wrong with a file of a conversion."""
        return fault_of_file(path, told)

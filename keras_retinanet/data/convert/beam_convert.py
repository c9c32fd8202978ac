"""A conversion to TFRecords as a job of Beam: each file is a share of its own. Needs Beam."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.shared import Shared

from keras_retinanet.data.convert.convert import Conversion, record_conversion, summary
from keras_retinanet.data.convert.record_shards import RecordConversion
from keras_retinanet.errors import DataError
from keras_retinanet.system.beam_environment import run_to_end
from keras_retinanet.system.distribution import DISTRIBUTION
from keras_retinanet.system.shards.shard import Shard

FILES, PASSED = "files", "passed_over"
IMAGES_COUNTER, PASSED_COUNTER = "images", "passed_over"


@dataclass(frozen=True)
class ConversionSettings:
    """What each worker reads the data set by; as the arguments of `convert`."""

    data: str
    output: Path
    splits: Sequence[str] | None = None
    num_files: int | None = None
    check_images: bool = True

    def read(self) -> RecordConversion:
        """Read the annotations, and the headers of the images."""
        return record_conversion(
            self.data,
            self.output,
            splits=self.splits,
            num_files=self.num_files,
            check_images=self.check_images,
        )


class WriteRecordFiles(beam.PTransform):
    """From numbers of files to what is known of them, while they are written.

    The result is a dict of two collections: "files", (number, what the manifest holds of it), and
    "passed_over", {"file", "problem", "action"} of what was found in the images.

    Args:
        shared: keeps the annotations for all of a process.
    """

    def __init__(
        self, settings: ConversionSettings, num_files: int, shared: Shared | None = None
    ) -> None:
        super().__init__()
        self._write = _WriteFile(settings, num_files, shared or Shared())

    def expand(self, numbers: Any) -> Any:
        written = numbers | beam.ParDo(self._write).with_outputs(PASSED, main=FILES)
        return {FILES: written[FILES], PASSED: written[PASSED]}


def convert_with_beam(settings: ConversionSettings, *, runner: Any, options: Any) -> Conversion:
    """Write the folder that `convert` writes, byte for byte; `output` is one for all workers.

    Files of an interrupted job are kept.

    Raises:
        ConfigError, DataError: as `convert`; the pipeline failed.
    """
    shared = Shared()
    # Workers in this process find it there, and need not read the annotations again.
    conversion = shared.acquire(settings.read)
    num_files = len(conversion.plan.files)
    known = conversion.known_files(num_files)
    pipeline = beam.Pipeline(runner=runner, options=options)
    todo = [number for number in range(num_files) if number not in known]
    numbers = pipeline | "Numbers" >> beam.Create(todo, reshuffle=False)
    write = WriteRecordFiles(settings, num_files, shared)
    numbers | "Spread" >> beam.Reshuffle() | "Write" >> write
    run_to_end(pipeline)
    entries, missing = conversion.complete(num_files)
    if missing:
        raise DataError(
            f"{len(missing)} of {num_files} files are not in {settings.output}: is it one folder "
            "for all workers?"
        )
    num_kept = sum(entry["images"] for number, entry in entries.items() if number in known)
    return summary(conversion, entries, settings.output, num_kept=num_kept, missing=[])


class _WriteFile(beam.DoFn):
    """Writes the file of a number; the annotations are read once a process."""

    def __init__(self, settings: ConversionSettings, num_files: int, shared: Shared) -> None:
        super().__init__()
        self._settings, self._num_files, self._shared = settings, num_files, shared

    def setup(self) -> None:
        self._conversion = self._shared.acquire(self._settings.read)

    def process(self, number: int) -> Iterator[Any]:
        shard = Shard(number, self._num_files)
        entries, _ = self._conversion.write_share(shard, lambda done, total: None)
        for number, entry in entries.items():
            Metrics.counter(DISTRIBUTION, IMAGES_COUNTER).inc(entry["images"])
            for problem, where, action in entry["findings"]:
                Metrics.counter(DISTRIBUTION, PASSED_COUNTER).inc(int(action == "image skipped"))
                found = {"file": where, "problem": problem, "action": action}
                yield TaggedOutput(PASSED, found)
            yield number, entry

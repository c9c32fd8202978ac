"""A prediction as a pipeline of Beam: addresses in, a line of JSON for each image out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from keras_retinanet.data.dataset import Finding
from keras_retinanet.detection.beam_jobs.detect_objects import (
    DETECTIONS,
    DETECTIONS_COUNTER,
    IMAGES_COUNTER,
    PASSED,
    PASSED_COUNTER,
    DetectObjects,
)
from keras_retinanet.detection.prediction_files import finding_as_json
from keras_retinanet.errors import ConfigError, DataError
from keras_retinanet.system.beam_environment import counters, run_to_end

SUFFIX = ".jsonl"


@dataclass(frozen=True)
class JobSummary:
    """Numbers of images looked at and passed over, and of detections, as the runner counted."""

    num_images: int
    num_passed_over: int
    num_detections: int


def run_prediction(
    detect: DetectObjects,
    addresses: Sequence[str],
    output: str,
    *,
    address_list: str | None = None,
    findings: Sequence[Finding] = (),
    runner: Any,
    options: Any,
) -> JobSummary:
    """Write `output`/detections-*.jsonl and `output`/passed_over-*.jsonl.

    Args:
        addresses: of images.
        address_list: a text file with an address on each line, which the workers read.
        findings: of what was passed over before; written with the rest.
        runner, options: Beam's.

    Raises:
        DataError: there is no address; the pipeline failed.
        ConfigError: `output` holds something, or cannot be reached.
    """
    if not addresses and address_list is None:
        raise DataError("there is no image to look at")
    _refuse_full(output)
    pipeline = beam.Pipeline(runner=runner, options=options)
    given = pipeline | "Given" >> beam.Create(list(addresses), reshuffle=False)
    if address_list is not None:
        listed = (
            pipeline
            | "List" >> beam.io.ReadFromText(address_list)
            | "Strip" >> beam.Map(str.strip)
            | "NotEmpty" >> beam.Filter(bool)
        )
        given = (given, listed) | "All" >> beam.Flatten()
    known = [finding_as_json(finding) for finding in findings]
    earlier = pipeline | "Earlier" >> beam.Create(known, reshuffle=False)
    found = given | "Spread" >> beam.Reshuffle() | "Find" >> detect
    passed = (earlier, found[PASSED]) | "AllPassed" >> beam.Flatten()
    for name, rows in ((DETECTIONS, found[DETECTIONS]), (PASSED, passed)):
        lines = rows | f"Line {name}" >> beam.Map(json.dumps, ensure_ascii=False)
        target = f"{output.rstrip('/')}/{name}"
        lines | f"Write {name}" >> beam.io.WriteToText(target, file_name_suffix=SUFFIX)
    sums = counters(run_to_end(pipeline))
    return JobSummary(
        num_images=sums.get(IMAGES_COUNTER, 0),
        num_passed_over=len(findings) + sums.get(PASSED_COUNTER, 0),
        num_detections=sums.get(DETECTIONS_COUNTER, 0),
    )


def _refuse_full(output: str) -> None:
    """Refuse a folder with something in it: files of an earlier job could stay among the new."""
    try:
        (found,) = FileSystems.match([f"{output.rstrip('/')}/*"], limits=[1])
    except Exception as error:  # of each file system its own
        raise ConfigError(f"--output {output} cannot be listed: {error}") from error
    if found.metadata_list:
        raise ConfigError(f"--output {output} exists and is not empty: name a new folder")

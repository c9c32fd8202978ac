"""A conversion to TFRecords by one process or many: each writes its share of the files and a part
that tells of them; whoever is last writes what belongs to all."""

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from keras_retinanet.data.convert.output import Output, read_manifest
from keras_retinanet.data.convert.run_jobs import run_jobs
from keras_retinanet.data.convert.split import Job
from keras_retinanet.data.convert.tfrecord_writer import LABEL_MAP, RecordPlan, described_file
from keras_retinanet.data.dataset import Finding, write_findings
from keras_retinanet.data.lost_labels import LabelCounts, refuse_lost_counts
from keras_retinanet.errors import DataError
from keras_retinanet.system.shards.part_file import (
    PART,
    PartHeader,
    open_part,
    part_path,
    read_part,
)
from keras_retinanet.system.shards.shard import Shard

KIND = "conversion"
# The folder of the parts, which is gone when the conversion is complete.
PARTS = "parts"

# What is known of a file, by its number; see `RecordPlan.write`.
Entries = dict[int, dict[str, Any]]


class RecordConversion:
    """The files of a conversion, of which each process writes a share.

    Args:
        findings: what was found on reading.
        source: names the data in messages.
        data_yaml, report: names of the files that are written last.
    """

    def __init__(
        self,
        plan: RecordPlan,
        output: Output,
        findings: Sequence[Finding],
        *,
        source: str,
        data_yaml: str,
        report: str,
    ) -> None:
        self.plan = plan
        self._output = output
        self._findings = [*findings, *plan.findings]
        self._source, self._data_yaml, self._report = source, data_yaml, report
        self._parts = output.root / PARTS

    def write_share(
        self, shard: Shard, on_progress: Callable[[int, int], None]
    ) -> tuple[Entries, int]:
        """Write what is not there of a share; return what is known of its files, and how many
        images were there before.

        Raises:
            DataError: another process writes this share, or there are shares of another division.
        """
        mine = shard.of(len(self.plan.files))
        path = part_path(self._parts, shard.index, shard.count)
        known = self._of(mine, self._known(path))
        num_kept = _num_images(known)
        if len(known) == len(mine) and (path.is_file() or self._manifest_files()):
            on_progress(num_kept, num_kept)
            return known, num_kept
        self._refuse_other_division(shard)
        path.unlink(missing_ok=True)  # it tells of a file that has been removed since
        work = {"fingerprint": self._output.fingerprint, "files": len(self.plan.files)}
        with open_part(path, PartHeader(KIND, shard.index, shard.count, work)) as writer:
            if writer is None:  # another process has finished it just now
                return self._of(mine, self._known(path)), num_kept
            for number in known.keys() - writer.done:
                writer.add(number, [known[number]])
            entries = self._of(mine, {number: rows[0] for number, rows in writer.read()})
            num_kept = _num_images(entries)
            todo = [number for number in mine if number not in entries]
            jobs = [Job(len(self.plan.files[n].images), partial(self._write, n)) for n in todo]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, on sizes and broken metadata
                for _, (number, entry) in run_jobs(jobs, on_progress, num_done=num_kept):
                    writer.add(number, [entry])
                    entries[number] = entry
            writer.finish()
        return dict(sorted(entries.items())), num_kept

    def known_files(self, count: int) -> Entries:
        """Return what is known of the files that finished shares of `count` have written."""
        paths = [part_path(self._parts, index, count) for index in range(count)]
        return self._known(*paths)

    def complete(self, count: int) -> tuple[Entries, list[Shard]]:
        """Write the data YAML and the manifest if all `count` shares are there.

        Returns:
            What is known of all files, and the shares that are missing: no files or no shares.

        Raises:
            DataError: of a split too much is lost.
        """
        with self._output.lock():
            entries = self.known_files(count)
            lacking = {n % count for n in range(len(self.plan.files)) if n not in entries}
            missing = [Shard(i, count) for i in sorted(lacking)]
            if missing:
                return {}, missing
            entries = dict(sorted(entries.items()))
            self._finish(entries)
            return entries, []

    def findings(self, entries: Entries) -> list[Finding]:
        """Return what was found on reading, and in the images of files."""
        of_files = [Finding(*f) for entry in entries.values() for f in entry["findings"]]
        return [*self._findings, *of_files]

    def _write(self, number: int) -> tuple[int, dict[str, Any]]:
        return number, self.plan.write(number, self._output)

    def _finish(self, entries: Entries) -> None:
        self._refuse_losses(entries)
        output = self._output
        output.write_text(LABEL_MAP, self.plan.label_map)
        text = yaml.safe_dump(self.plan.data_yaml, sort_keys=False, allow_unicode=True)
        output.write_text(self._data_yaml, text)
        files = {self.plan.files[number].place: entry for number, entry in entries.items()}
        files[LABEL_MAP] = described_file(output.path(LABEL_MAP))
        output.complete(partial(write_findings, self.findings(entries)), self._report, files)
        if self._parts.is_dir():
            shutil.rmtree(self._parts)
        output.remove_unfinished()

    def _refuse_losses(self, entries: Entries) -> None:
        """Stop where damaged images have left no objects, or few; see `refuse_lost_labels`."""
        for split in self.plan.splits:
            own = [entry for entry in entries.values() if entry["split"] == split.name]
            counts = LabelCounts(
                *(sum(entry[key] for entry in own) for key in ("images", "boxes", "objects"))
            )
            dropped = [Finding(*f) for entry in own for f in entry["findings"]]
            findings = [*split.dataset.findings, *dropped]
            refuse_lost_counts(counts, findings, f"{self._source}: {split.name}")

    def _manifest_files(self) -> Mapping[str, dict[str, Any]]:
        content = read_manifest(self._output.root) or {}
        return content.get("files", {}) if content.get("is_complete") else {}

    def _known(self, *paths: Path) -> Entries:
        """Return what the manifest and finished parts tell of files that are there."""
        told = self._manifest_files()
        known: Entries = {
            number: told[file.place]
            for number, file in enumerate(self.plan.files)
            if file.place in told
        }
        for path in paths:
            known.update((n, rows[0]) for n, rows in (read_part(path) if path.is_file() else ()))
        return self._of(range(len(self.plan.files)), known)

    def _of(self, mine: range, entries: Entries) -> Entries:
        """Return what is known of some files, as far as they are there, and as long as it says."""
        return {n: entries[n] for n in mine if n in entries and self._is_there(n, entries[n])}

    def _is_there(self, number: int, entry: Mapping[str, Any]) -> bool:
        path = self._output.path(self.plan.files[number].place)
        return path.is_file() and path.stat().st_size == entry["bytes"]

    def _refuse_other_division(self, shard: Shard) -> None:
        own = part_path(self._parts, shard.index, shard.count).name.partition("-of-")[2]
        for path in sorted(self._parts.glob(f"{PART}*")):
            other = path.name.partition("-of-")[2].partition(".")[0]
            if other != own.partition(".")[0]:
                raise DataError(
                    f"{path} is one of {other} shares, and this is one of {shard.count}: go on "
                    f"with --shard I/{other}, or remove {self._output.root}"
                )


def _num_images(entries: Entries) -> int:
    return sum(entry["images"] for entry in entries.values())

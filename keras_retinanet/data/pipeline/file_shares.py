"""Training from many record files: each worker reads files of its own, several at a time."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from keras_retinanet.data.images.address import file_of, is_address
from keras_retinanet.data.pipeline.plan import TrainingPlan
from keras_retinanet.errors import ConfigError

logger = logging.getLogger(__name__)

# Files of a worker whose images are shuffled together: enough to mix what was written together, and
# few enough that each is read nearly in one go.
FILES_AT_ONCE = 16
# By how much the largest share may be above the mean: its images set the length of an epoch, in
# which others are then shown again.
MAX_UNEVENNESS = 0.05


@dataclass(frozen=True)
class FilePlan(TrainingPlan):
    """A plan in which each share of a batch has images of files that are this share's alone.

    The batch consists of `num_shares` equal parts, one behind the other, so that a worker reads the
    files of its part or parts and no others: partners of its images come from them, too. An epoch
    goes through a share's files in random order, `files_at_once` at a time.

    An epoch shows every image once; a share with fewer images than another shows some again.

    Args:
        files: [N] int, the file that each image is in.
        share_of_file: [F] int, the share that each file belongs to.
    """

    files: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    share_of_file: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    files_at_once: int = FILES_AT_ONCE

    @property
    def num_shares(self) -> int:
        return int(self.share_of_file.max()) + 1

    @property
    def images_per_share(self) -> int:
        """Images of a share in each batch."""
        return self.batch_size // self.num_shares

    @property
    def steps_per_epoch(self) -> int:
        num_whole, num_left = self._counts()
        return int(num_whole.sum() + -(-num_left.max() // self.images_per_share))

    def _counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how many batches there are of landscape and of portrait images alone [2], and how
        many images of each share are left over [S]."""
        shares = self.share_of_file[self.files]
        is_portrait = (self.heights > self.widths).astype(np.int64)
        counts = np.bincount(2 * shares + is_portrait, minlength=2 * self.num_shares)
        counts = counts.reshape(-1, 2)
        num_whole = counts.min(axis=0) // self.images_per_share
        return num_whole, (counts - num_whole * self.images_per_share).sum(axis=1)

    def _order(self, rng: np.random.Generator) -> np.ndarray:
        num_whole, _ = self._counts()
        size, num_left = self.images_per_share, self.steps_per_epoch - int(num_whole.sum())
        parts = []
        for share in range(self.num_shares):
            order = self._order_of_share(rng, share)
            is_portrait = self.heights[order] > self.widths[order]
            groups = order[~is_portrait], order[is_portrait]
            whole = [g[: n * size] for g, n in zip(groups, num_whole, strict=True)]
            left = np.concatenate([g[n * size :] for g, n in zip(groups, num_whole, strict=True)])
            filling = np.resize(order, num_left * size - len(left))
            parts.append(np.concatenate([*whole, left, filling]).reshape(-1, size))
        batches = np.stack(parts, axis=1).reshape(-1, self.batch_size)
        return batches[self._turns(rng, num_whole, num_left)].ravel()

    def _order_of_share(self, rng: np.random.Generator, share: int) -> np.ndarray:
        """Return the images of a share, those of some files at a time."""
        files = np.flatnonzero(self.share_of_file == share)
        if not self.shuffle:
            return np.flatnonzero(self.share_of_file[self.files] == share)
        turn = np.full(len(self.share_of_file), -1)
        turn[rng.permutation(files)] = np.arange(len(files)) // self.files_at_once
        turns = turn[self.files]
        images = rng.permutation(np.flatnonzero(turns >= 0))
        return images[np.argsort(turns[images], kind="stable")]

    def _turns(self, rng: np.random.Generator, num_whole: np.ndarray, num_left: int) -> np.ndarray:
        """Return the order of the batches: both orientations advance alike, so that their images
        come from the same files; what is left over comes last."""
        last = int(num_whole.sum()) + np.arange(num_left)
        if not self.shuffle:
            return np.concatenate([np.arange(num_whole.sum()), last])
        places = [(np.arange(n) + rng.random(n)) / max(n, 1) for n in num_whole]
        return np.concatenate([np.argsort(np.concatenate(places), kind="stable"), last])

    def _partners(self, rng: np.random.Generator, order: np.ndarray) -> np.ndarray:
        partners = super()._partners(rng, order)
        if not (partners >= 0).any():
            return partners
        # Those drawn from all images are replaced by ones of the image's own share.
        table = order.reshape(-1, self.num_shares, self.images_per_share)
        own = np.stack(
            [
                rng.choice(table[:, share].ravel(), (len(table), self.images_per_share, 4))
                for share in range(self.num_shares)
            ],
            axis=1,
        )
        return np.where(partners >= 0, own.reshape(-1, 4), -1)


def by_file(
    plan: TrainingPlan, paths: Sequence[str], num_shares: int, *, num_workers: int = 1
) -> TrainingPlan:
    """Return a plan in which the files of records are shared out, or the plan itself where they
    cannot be: every worker then reads from all files, and a line says why.

    Args:
        paths: of the plan's images.

    Raises:
        ConfigError: workers would have unequal numbers of shares.
    """
    if num_shares == 1:
        return plan
    if num_shares % num_workers:
        raise ConfigError(
            f"training.file_shares = {num_shares} is no multiple of the {num_workers} workers"
        )
    reason: str | None = "the images are not in TFRecords"
    if paths and all(map(is_address, paths)):
        files = np.unique([file_of(path) for path in paths], return_inverse=True)[1]
        counts = np.bincount(files)
        shares = share_out(counts, num_shares)
        reason = _reason_against(plan, counts, shares, num_shares)
    if reason is not None:
        logger.warning("training.file_shares: every worker reads from all files: %s", reason)
        return plan
    told = "training.file_shares: %d files in %d shares; each of %d workers reads its own"
    logger.info(told, len(counts), num_shares, num_workers)
    inherited = {f.name: getattr(plan, f.name) for f in fields(TrainingPlan)}
    return FilePlan(**inherited, files=files, share_of_file=shares)


def share_out(counts: np.ndarray, num_shares: int) -> np.ndarray:
    """Return a share for each file [F], so that shares have about as many images as each other.

    The largest file first, each to the share that has the fewest images so far.

    Args:
        counts: [F], images of each file.
    """
    shares, totals = np.zeros(len(counts), np.int64), np.zeros(num_shares, np.int64)
    for file in np.argsort(-counts, kind="stable"):
        shares[file] = int(totals.argmin())
        totals[shares[file]] += counts[file]
    return shares


def _reason_against(
    plan: TrainingPlan, counts: np.ndarray, shares: np.ndarray, num_shares: int
) -> str | None:
    """Return why files cannot be shared out, with what to do; None if they can."""
    if len(counts) < num_shares:
        return (
            f"there are {len(counts)} files for {num_shares} shares: write more with data convert "
            "--shards"
        )
    if plan.batch_size % num_shares:
        return f"a batch of {plan.batch_size} images has no {num_shares} equal shares"
    if plan.repeats is not None:
        return "images are drawn by weights (a mix, repeat_threshold or epoch_images)"
    totals = np.bincount(shares, weights=counts, minlength=num_shares)
    if totals.max() > (1 + MAX_UNEVENNESS) * totals.mean():
        return (
            f"{len(counts)} files make uneven shares of {totals.min():.0f} to {totals.max():.0f} "
            f"images: write a multiple of {num_shares} files with data convert --shards"
        )
    return None

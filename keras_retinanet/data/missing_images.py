"""Image files that are not there: a few are skipped, of many the folder is wrong. The message says
where such files do lie."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from keras_retinanet.data.faults import stop
from keras_retinanet.data.images.listing import IMAGE_SUFFIXES, walk

logger = logging.getLogger(__name__)

MISSING = "missing image file"
# Above this share of missing files, the folder is wrong and not the files.
MAX_MISSING_SHARE = 0.1
_MAX_NAMED = 3
# A data set below a huge folder is not searched to its end.
_MAX_SEARCHED = 200_000


def refuse_missing_images(
    source: str, missing: Sequence[str], num_images: int, folder: Path | None
) -> None:
    """Stop where many of a split's images are missing, saying where one was looked for, and where a
    file of its name is.

    Args:
        source: names the annotations in the message.
        folder: the data set's, which is searched.

    Raises:
        DataError: more than MAX_MISSING_SHARE are missing.
    """
    if len(missing) <= MAX_MISSING_SHARE * num_images:
        return
    logger.debug("%s: missing images:\n%s", source, "\n".join(missing))
    path = missing[0]
    tops = [*([folder] if folder is not None else []), _existing_folder(path)]
    place = "no file of that name is near"
    for key, told in ((_name, "a file of that name"), (_stem, "with another suffix, it")):
        elsewhere = _find_any(missing, tops, key)
        if elsewhere is not None:
            path, place = elsewhere[0], f"{told} is {elsewhere[1]}"
            break
    names = list(dict.fromkeys([PurePath(path).name, *(PurePath(p).name for p in missing)]))
    told = ", ".join(names[:_MAX_NAMED])
    if len(missing) > _MAX_NAMED:
        told += f" and {len(missing) - _MAX_NAMED} more"
    where = f"{source}: {len(missing)} of {num_images}: looked for {path}; {place}"
    stop(
        "many image files are missing: is the folder right?",
        where,
        f"{source}: {len(missing)} of {num_images} image files are missing ({told}): looked for "
        f"{path}; {place}: name the folder of the images with `images:` in a data YAML, or put "
        "the files there; `retinanet data check --json` lists all",
    )


def _find_any(
    missing: Sequence[str], tops: Sequence[Path], key: Callable[[str], str]
) -> tuple[str, str] | None:
    """Return one of the missing files, and an image that `key` makes the same."""
    wanted = {key(path): path for path in reversed(missing)}
    best: dict[str, str] = {}
    num_searched = 0
    for top in dict.fromkeys(os.path.abspath(top) for top in tops):
        if os.path.dirname(top) == top:
            continue  # the root of the file system
        for parent, names in walk(top, skip_unreadable=True):
            for name in names:
                if key(name) in wanted and name.lower().endswith(IMAGE_SUFFIXES):
                    best.setdefault(wanted[key(name)], os.path.join(parent, name))
            num_searched += len(names)
            if best or num_searched > _MAX_SEARCHED:
                break
        if best or num_searched > _MAX_SEARCHED:
            break
    return next(((path, best[path]) for path in missing if path in best), None)


def _name(path: str) -> str:
    return PurePath(path).name.lower()


def _stem(path: str) -> str:
    return PurePath(path).stem.lower()


def _existing_folder(path: str) -> Path:
    """Return the nearest folder above a file that is there."""
    return next(p for p in (*Path(os.path.abspath(path)).parents, Path.cwd()) if os.path.isdir(p))

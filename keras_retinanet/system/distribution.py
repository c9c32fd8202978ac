"""What this package is installed as, and the other project that would be imported in its place."""

import importlib.metadata

DISTRIBUTION = "retinanet-keras"

# Another project on the package index, whose package has the same name as ours: each of the two
# overwrites files of the other, whichever is installed later.
OTHER_DISTRIBUTION = "keras-retinanet"


def clash_warning() -> str | None:
    """Return one line that says what to do where the other project is installed, too, or None."""
    try:
        other = importlib.metadata.distribution(OTHER_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None
    # A checkout of this project that was installed by its former name has no files there.
    if not any(file.parts[0] == "keras_retinanet" for file in other.files or ()):
        return None
    return (
        f"{OTHER_DISTRIBUTION} {other.version} is installed, another project that also calls its "
        f"package keras_retinanet, and their files may be mixed: pip uninstall "
        f"{OTHER_DISTRIBUTION} {DISTRIBUTION}, then install {DISTRIBUTION} again"
    )

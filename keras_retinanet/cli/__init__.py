"""The command line: thin verbs that read files, call the package and print what came of it."""

from keras_retinanet.cli.app import main

__all__ = ["main"]

"""`python -m keras_retinanet.cli`."""

from keras_retinanet.cli import main

main()

"""A signal is answered at once, also while the main thread is in a step that takes long."""

import hashlib
import logging
import os
import signal
import threading

import pytest

from keras_retinanet.training.runs.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_answer_comes_before_the_step_is_over(number):
    handlers, wakeup = signal.getsignal(number), signal.set_wakeup_fd(-1)
    told = []
    with Interruption() as interruption:
        listener = logging.Handler()
        # Python's own handler, which notes the name, runs when the call in C is over.
        listener.emit = lambda r: told.append((r.getMessage(), interruption.signal_name))
        logger = logging.getLogger("keras_retinanet.training.runs.interruption")
        logger.addHandler(listener)
        try:
            timer = threading.Timer(0.3, os.kill, (os.getpid(), number))
            timer.start()
            hashlib.pbkdf2_hmac("sha512", b"", b"", 3_000_000)  # seconds of C, without the GIL
            assert interruption.signal_name == number.name
            timer.join()
        finally:
            logger.removeHandler(listener)
    ((message, name_then),) = told
    assert message.startswith(f"{number.name}: stopping after this step") and name_then is None
    assert signal.getsignal(number) is handlers
    assert signal.set_wakeup_fd(wakeup) == -1

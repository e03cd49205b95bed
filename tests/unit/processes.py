"""What tests share that start other processes."""

import multiprocessing
import time


def in_a_process(function, *arguments):
    """Run in a forked process, so that it can be killed, and give its exit code."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join(120)
    return process.exitcode


def wait_for(condition):
    """Wait until the condition holds; the test fails when it does not within 30 seconds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)

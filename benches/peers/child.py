"""A tool run as a process of its own, on chosen cores, and what it took.

Leaves to others which tools there are and what their output means.
"""

import os
import resource
import subprocess
import time
from dataclasses import dataclass


class ToolFailed(Exception):
    """A tool that ended with an error, or whose output is not what it should be."""


@dataclass(frozen=True)
class Finished:
    stdout: str
    # From before the process was started to after its end.
    wall_s: float
    # User and system time of all its threads, start and end included.
    cpu_s: float

    def share(self):
        """Cores it had on average: well below what it could use means that it was disturbed."""
        return self.cpu_s / self.wall_s


def cores(count):
    """The last `count` cores that this process may use; the first ones take most interrupts.

    None if it may not use so many.
    """
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[-count:] if len(allowed) >= count else None


def run(command, on, environment=None):
    """Runs `command` on the cores `on` and waits for its end. Raises ToolFailed."""
    allowed = os.sched_getaffinity(0)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # A process inherits the cores of the thread that starts it.
    os.sched_setaffinity(0, on)
    try:
        start = time.perf_counter()
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        wall_s = time.perf_counter() - start
    except OSError as error:
        raise ToolFailed(f"{command[0]}: {error}") from error
    finally:
        os.sched_setaffinity(0, allowed)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing said")[-2000:]
        words = " ".join(str(word) for word in command)
        raise ToolFailed(f"exit code {done.returncode} of `{words}`: {said}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Finished(done.stdout, wall_s, cpu_s)

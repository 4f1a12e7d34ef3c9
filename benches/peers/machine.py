"""What the figures were taken on, and how busy it was."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path


def description(work):
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "commit": commit(),
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "file_system": file_system(work),
        "python": platform.python_version(),
        "numpy": version("numpy"),
    }


def commit():
    """Of the tree these files are in; the program under test is taken to be built from it."""
    command = ["git", "-C", Path(__file__).parent, "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
    except OSError:
        return None


def file_system(path):
    """The kind of file system that `path` is on: on tmpfs a durable import costs nothing."""
    path = Path(path).resolve()
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    over = [(len(place), kind) for place, kind in mounts if path.is_relative_to(place)]
    # The last of those mounted at one place hides the others.
    return max(enumerate(over), key=lambda mount: (mount[1][0], mount[0]))[1][1]


def load():
    """Processes that wanted to run, on average over the last minute."""
    return os.getloadavg()[0]


def version(package):
    return importlib.metadata.version(package)


def has_module(name):
    return importlib.util.find_spec(name) is not None


def hnswlib_build():
    """How hnswlib was compiled: plain x86-64 has no FMA."""
    if platform.machine() != "x86_64" or shutil.which("objdump") is None:
        return "compiled for an unknown machine"
    library = importlib.util.find_spec("hnswlib").origin
    code = subprocess.run(["objdump", "-d", library], capture_output=True, text=True).stdout
    return "-march=native" if "vfmadd" in code else "NOT compiled with -march=native"

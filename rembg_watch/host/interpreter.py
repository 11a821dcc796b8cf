"""What a Python of our own gets of this process's environment: how to find itself and its modules, and no more."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

# What an interpreter may need to find itself, and nothing that is the daemon's: its key, its socket, its watchdog.
_HANDED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONHOME", "GLIBC_TUNABLES")


def environment(*packages: ModuleType, names: Iterable[str] = ()) -> dict[str, str]:
    """Hand on where modules are found, what an interpreter needs, and variables of these *names*."""
    handed_on = {name: os.environ[name] for name in (*_HANDED_ON, *names) if name in os.environ}
    places = [Path(place or ".").absolute() for place in sys.path]
    places += [Path(package.__path__[0]).parent for package in packages]
    return handed_on | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(map(str, places)))}

"""
The configuration: every setting, where it is read from and everything that can be wrong with it.

``load`` gives settings or refuses them with all problems at once; ``read`` gives both,
for ``check``. Nothing here watches, sends or writes.
"""

from rembg_watch.config.example import template
from rembg_watch.config.findings import Finding, FindingKind, Severity
from rembg_watch.config.reading import (
    FOR_ACCOUNT,
    FOR_LOOKING,
    FOR_RUN,
    OWN_NAME,
    Reading,
    find,
    load,
    read,
    usual_places,
)
from rembg_watch.config.rules import problems, targets, unwritable
from rembg_watch.config.settings import FolderOptions, FolderSettings, Settings, redacted

__all__ = [
    "FOR_ACCOUNT",
    "FOR_LOOKING",
    "FOR_RUN",
    "OWN_NAME",
    "Finding",
    "FindingKind",
    "FolderOptions",
    "FolderSettings",
    "Reading",
    "Settings",
    "Severity",
    "find",
    "load",
    "problems",
    "read",
    "redacted",
    "targets",
    "template",
    "unwritable",
    "usual_places",
]

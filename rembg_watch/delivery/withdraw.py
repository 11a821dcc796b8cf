"""
Take a cut-out away whose source has another name now.

Only the very bytes that the ledger says we put there go: what a person edited stays. When this
is done is not decided here (``pipeline.renames``).
"""

import contextlib
from pathlib import Path

from rembg_watch.host import disk


def withdraw(root: Path, target: bytes, recorded: disk.Content) -> bool:
    """
    Remove the cut-out *target* below the output *root* if it holds what was *recorded*; return whether it did.

    It is caught under a hidden name first and looked at there, so that a file that takes its
    place at the last moment is put back instead of removed. A crash leaves a staging file,
    which ``publish.sweep_staging`` removes.

    Raises:
        DeliveryError: It cannot be looked at or removed now.
    """
    parent, name = disk.split(target)
    full = disk.full_path(root, target)
    sentence = f"{disk.shown(full)} cannot be removed"
    with disk.root_directory(root) as root_fd, disk.explaining(sentence, full):
        try:
            with disk.directory(root_fd, parent) as dir_fd:
                return disk.content_at(dir_fd, name) == recorded and _catch(dir_fd, name, recorded)
        except (FileNotFoundError, NotADirectoryError):
            return False


def _catch(dir_fd: int, name: bytes, recorded: disk.Content) -> bool:
    caught = disk.new_staging_name()
    disk.claim(dir_fd, name, dir_fd, caught)
    if disk.content_at(dir_fd, caught) != recorded:
        with contextlib.suppress(FileExistsError):  # a still newer one is there: the sweep takes neither of them soon
            disk.claim(dir_fd, caught, dir_fd, name)
        return False
    disk.remove(dir_fd, caught)
    disk.sync_directory(dir_fd)
    return True

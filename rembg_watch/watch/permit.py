"""What a watched folder asks leave for; without a daemon around it, all is given."""

from rembg_watch.paths import Folder


class Permit:
    """
    Leave to watch a folder, and to have its pictures sent; asked from the folder's own thread.

    As it stands it gives leave for everything; the daemon has its own.
    """

    def claim(self, folder: Folder) -> bool:
        """
        Take a folder's input for this process, or keep it; say whether it could be had.

        Asked whenever the folder arrives and every second from then on.
        """
        del folder
        return True

    def arrived(self, folder: Folder) -> None:
        """Take note that a folder is there, or another one in its place, and that it is ours."""

    def let_go(self, folder: Folder) -> None:
        """Give a folder's input up: it has not been there for long, and may be another one when it comes back."""

    def is_new(self, folder: Folder) -> bool:
        """Say whether nothing of a folder is to be sent before all of it was looked at."""
        del folder
        return False

    def looked(self, folder: Folder) -> None:
        """Take note that all of a new folder was looked at, and what is whole is in line."""

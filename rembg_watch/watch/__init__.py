"""
Watch the folders: notice, look, wait until files have settled, and put whole pictures in line.

Notices of the kernel only mark directories and names; what counts is what a look at the folder
finds, and what both missed is found by the next walk. Nothing is sent from here, and nothing in the
folders is changed. This package alone imports watchdog, in ``watch.observer``.

====================  ==========================================================
``watch.watcher``     ``Watcher``: all folders, each in a thread of its own
``watch.folder``      one folder: is it there, what was noticed, what comes next
``watch.permit``      which folders are this process's to watch, and to send
``watch.scan``        the walks that find what is new, changed or gone
``watch.schedule``    when the next walk comes
``watch.intake``      from the first look to a job in line, or the reason why not
``watch.tally``       what is passed over, counted by kind
``watch.settle``      when a file has stopped changing (core)
``watch.probe``       what one settled file is worth
``watch.observer``    notices of the kernel, and whether they still come
====================  ==========================================================

How a folder can be lost, and what becomes of it:

=====================================  ===================================================================
it                                     then
=====================================  ===================================================================
is watched by another process          nothing in it is looked at; asked for again every second
is not there, or cannot be read        standby, told once; no picture counts as deleted; looked for every
                                       second; all of it is looked through when it is back
was unmounted, so that the empty       the same
mount point is there
was replaced, or mounted anew          the observer is set up anew and all of it is looked through
lies on a network or overlay mount     names are compared at every walk, and no notice is relied on
has more directories than watches      the rest is walked; told once, with the remedy
loses notices (overflow)               a deep walk, and another one if it goes on
has an observer that died or is deaf   a new one, told, and a deep walk
has a directory that cannot be read,   told once and listed; nothing in it counts as deleted, and all else is
or an entry that cannot be looked at   looked at
=====================================  ===================================================================
"""

from rembg_watch.watch.intake import Pace
from rembg_watch.watch.permit import Permit
from rembg_watch.watch.tally import files_below
from rembg_watch.watch.watcher import Watcher, thread_name, watched_by

__all__ = ["Pace", "Permit", "Watcher", "files_below", "thread_name", "watched_by"]

"""
What this machine provides: disks, mounts, locks, clocks, processors, memory and systemd.

Nothing here knows about pictures, credits or the API.

====================  =================================================================
``host.disk``         careful operations in folders that others write to as well
``host.mounts``       what is mounted or should be, and what that means for a folder
``host.silence``      which places do not answer a look: a share that hangs
``host.locks``        one daemon for each state directory and each input folder
``host.systemd``      readiness, watchdog, stopping; the drop-in for the folders
``host.clocks``       time, waiting and chance, which tests replace
``host.processors``   which processor a thread runs on
``host.memory``       how the heap behaves in a process that runs for months
``host.interpreter``  what a Python of our own gets of the environment
``host.cache``         small files that can be made again, of which no more is kept than is allowed
``host.owners``       whose a file or folder is
``host.threads``      how many threads may be started
====================  =================================================================
"""

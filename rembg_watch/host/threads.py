"""
How many threads this machine lets the program start.

The limit may be the user's (``ulimit -u``), the service's (``TasksMax=``) or a container's, and
other processes count against it, so it is tried out and not read.
"""

import threading

ADVICE = "raise the limit (`ulimit -u`, TasksMax= of the service, pids of the container), or set fewer [pool] workers"


def room_for(wanted: int) -> int:
    """Start up to *wanted* threads that do nothing, end them again, and return how many there were."""
    is_over = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(wanted):
            thread = threading.Thread(target=is_over.wait, name="room", daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:  # the only way in which Python says so
        pass
    finally:
        is_over.set()
        for thread in started:
            thread.join()
    return len(started)

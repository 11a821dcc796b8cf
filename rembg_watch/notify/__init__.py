"""
What people are told by message, so that nobody has to look.

==================  ===================================================================
``notify.rules``    what is told, when, and how much of it at once (core)
``notify.values``   what notices are made of (core)
``notify.outbox``   what was told, and is still to be told, in the ledger
``notify.urls``     where the URLs are that notices go to, and what may be shown of them
``notify.sender``   the process that sends, with Apprise and without the key
``notify.sending``  that process as whoever asks it sees it
``notify.trial``    a test of every way
``notify.ping``     a dead man's switch: somebody notices when this daemon is silent
==================  ===================================================================

Who tells what is in ``daemon.notices``.
"""

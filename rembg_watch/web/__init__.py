"""
The page: what the daemon does and what came of each picture, for people who never open a terminal.

It runs in a process of its own, beside the daemon: without the key. It asks the ledger and the status file, and
nobody else. It writes a cache of small pictures, and, where ``may = "act"``, what a person decides into the ledger.

============  =====================================================================
``guard``     who may ask, and what a browser may do with the answer (core)
``views``     what is on a page: from jobs and figures to words and numbers (core)
``front``     what is on the first page and on that of the credits (core)
``advice``    what a person can do about each reason (core)
``marks``     where a page ended, as a word in an address (core)
``answers``   the JSON of ``/api/v1`` (core)
``openapi``   what that JSON promises (core)
``login``     who asks
``sums``      sums over much of the ledger that were made before
``daemons``   the daemons that are looked at
``templates`` the pages as they are written, and what is served beside them
``orders``    what a form asks for, and its price in words (core)
``acts``      the routes by which something is changed, where that is allowed
``bills``     a month as a file for a spreadsheet
``sheets``    contact sheets as downloads
``app``       the routes by which one looks
``entry``     acts on what the guard decides, for each request
``server``    where it listens, and whether it may
``main``      its first line, and why it ends
============  =====================================================================
"""

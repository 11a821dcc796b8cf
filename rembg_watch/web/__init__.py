"""
The page: what the daemon does and what came of each picture, for people who never open a terminal.

It runs in a process of its own, beside the daemon: without the key, and without writing anything but a cache of
small pictures. It asks the ledger and the status file, and nobody else.

================  =================================================================
``guard``         who may ask, and what a browser may do with the answer
``views``         what is on a page: from jobs and figures to words and numbers
``front``         what is on the first page and on that of the credits
``advice``        what a person can do about each reason
``marks``         where a page ended, as a word in an address
``places``        where the files of a picture stand
``cache``         small pictures that were made before
``pictures``      small pictures that are made now, in processes of their own
``daemons``       the daemons that are looked at
``login``           who asks
``entry``           acts on what the guard decides, for each request
``answers``       the JSON of ``/api/v1``
``openapi``       what that JSON promises
``app``           the routes
``server``        where it listens, and whether it may
================  =================================================================
"""

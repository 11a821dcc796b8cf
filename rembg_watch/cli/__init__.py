"""
The command line: one function per command, grouped by what a person wants.

=============  =====================================================
``cli.work``   ``demo``, ``run``, ``once``: pictures are cut out
``cli.look``   ``status``, ``jobs``, ``retry``, ``check``: how it goes
``cli.account``  ``credits``: what the account holds
``cli.remove``   ``remove``: one picture or a few, straight through
``cli.setup``    ``init``, ``sandbox``: before the first run
=============  =====================================================

Commands parse, call and print. What they do stands in the modules below.
"""

from rembg_watch.cli.app import app, main

__all__ = ["app", "main"]

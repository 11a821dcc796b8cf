"""
The command line: a file for each command, which has the command's name.

=========================  =====================================================
``run``, ``once``          pictures are cut out
``remove``                 the same by hand, without folders and without a ledger
``status``, ``jobs``       how it goes
``retry``                  what failed is tried again
``pause`` (``resume``)     nothing more is sent until a person says so
``accept``, ``reject``     cut-outs that wait for a person are delivered, or never
``redo``                   cut-outs are made anew
``adopt``                  cut-outs of another ledger are taken over
``check``, ``credits``     what could go wrong; what the account holds
``report``                 what was spent, and on what
``web``                    the page
``notify``                 a test of how people are told
``init``, ``sandbox``      before the first run
``demo``                   the tour
=========================  =====================================================

``commands`` lists them; ``configured`` and ``console`` are what they share. Commands parse,
call and print. What they do is in the packages below.
"""

from rembg_watch.cli.commands import app, main

__all__ = ["app", "main"]

"""
What can be known of a picture without decoding it.

========================  =============================================================
``pictures.formats``      what the bytes at the ends of a file say (core)
``pictures.inspection``   reads those bytes from an open file
========================  =============================================================
"""

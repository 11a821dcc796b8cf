"""
What can be known of a picture without decoding it, and the two cases in which it is decoded all the same.

========================  =============================================================
``pictures.reader``       reads a file where it is asked for (core)
``pictures.structure``    what the reader of a format says of a file (core)
``pictures.orientation``  how a picture is to be turned, by its EXIF and XMP (core)
``pictures.jpeg``         a JPEG from segment to segment (core)
``pictures.png``          a PNG from chunk to chunk (core)
``pictures.webp``         a WebP from chunk to chunk (core)
``pictures.bmp``          a BMP by its header (core)
``pictures.foreign``      names for everything else (core)
``pictures.formats``      what a file is, and why it would be refused (core)
``pictures.decoding``     decodes a doubtful picture in a process of its own
``pictures.inspection``   says all that of an open file
``pictures.upright``      decodes a picture and writes it anew, upright
========================  =============================================================
"""

"""
What can be known of a picture without decoding it, and, in processes of their own, what can be made of it.

===========================  =============================================================
``pictures.reader``          reads a file where it is asked for (core)
``pictures.structure``       what the reader of a format says of a file (core)
``pictures.orientation``     how a picture is to be turned, by its EXIF and XMP (core)
``pictures.jpeg``            a JPEG from segment to segment (core)
``pictures.png``             a PNG from chunk to chunk (core)
``pictures.webp``            a WebP from chunk to chunk (core)
``pictures.bmp``             a BMP by its header (core)
``pictures.directories``     the directories of a TIFF structure (core)
``pictures.tiff``            a TIFF by its directories (core)
``pictures.raws``            camera RAW and DNG, told from TIFF (core)
``pictures.psd``             a Photoshop document from section to section (core)
``pictures.heif``            a HEIC, HEIF or AVIF from box to box (core)
``pictures.foreign``         names for everything else (core)
``pictures.formats``         what a file is, and why it would be refused (core)
``pictures.metadata``        what a file says of its picture, and what of it is carried over (core)
``pictures.exif``            EXIF, changed in place (core)
``pictures.xmp``             XMP, with properties cut out (core)
``pictures.iptc``            IPTC, and Photoshop's resources that hold it (core)
``pictures.jpeg_parts``      a JPEG taken apart, and its metadata replaced (core)
``pictures.png_parts``       a PNG likewise (core)
``pictures.webp_parts``      a WebP likewise (core)
``pictures.tiff_parts``      a TIFF taken apart (core)
``pictures.psd_parts``       a Photoshop document likewise (core)
``pictures.heif_parts``      a HEIC, HEIF or AVIF likewise (core)
``pictures.srgb``            whether the colours of an ICC profile are sRGB (core)
``pictures.sending``         in which way a picture is sent: as it is, upright, or as a smaller copy (core)
``pictures.carrying``        what comes from a source into its cut-out; which bytes make the picture (core)
``pictures.deliverable``     a file that is wanted of each picture (core)
``pictures.naming``          what a deliverable is called (core)
``pictures.words``           what a picture says of itself, as words for that (core)
``pictures.measuring``       an alpha or a mask in figures, with Pillow alone
``pictures.figures``         what they say, and which of them a person should look at (core)
``pictures.framing``         where the object stands on its canvas, to a pixel (core)
``pictures.contour``         the outline of an alpha (core)
``pictures.clipping``        an outline as a clipping path (core)
``pictures.profiles``        colour profiles that a picture may lack
``pictures.vips``            the one door to libvips and libheif
``pictures.psd_pixels``      the composite of a Photoshop document
``pictures.opening``         opens any picture upright, with its profile
``pictures.alphas``          what was bought, as how opaque each pixel is
``pictures.guided``          an alpha that is made larger follows the edges of its picture
``pictures.edges``           soft edges without the background
``pictures.colours``         which profile a deliverable gets, and how colours come into it
``pictures.composing``       crops, resizes, flattens and places a picture
``pictures.tiff_words``      EXIF put into a TIFF
``pictures.writing``         writes a finished picture
``pictures.rendering``       what is asked of whoever makes one, and what comes of it
``pictures.reduction``       the same of a copy to be sent
``pictures.render``          makes one deliverable, from files to a file
``pictures.proxy``           the copy that is sent for what the service does not take
``pictures.view``            a picture as a page shows it
``pictures.extras``          what has to be installed to read a kind of picture
``pictures.decoding``        decodes a doubtful picture in a process of its own
``pictures.inspection``      says all that of an open file
``pictures.upright``         decodes a picture and writes it anew, upright
===========================  =============================================================
"""

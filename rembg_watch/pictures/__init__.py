"""What can be known of a picture without decoding it: ``inspection`` reads its two ends, ``formats`` judges."""

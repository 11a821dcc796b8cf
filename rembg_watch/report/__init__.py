"""One event in, many reporters: log, metrics, status."""

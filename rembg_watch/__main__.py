"""``python -m rembg_watch`` is ``rembg-watch``."""

from rembg_watch.cli import main

if __name__ == "__main__":
    main()

"""The tour for newcomers: the sandbox, sample pictures and the real daemon, from nothing to a contact sheet."""

from rembg_watch.demo.tour import run_demo

__all__ = ["run_demo"]

"""
The trials, small: each as ``python -m tests.torture`` runs it, with fewer pictures.

The program itself is run, in a process of its own: what is tried here is the proof as people run it.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.torture.__main__ import way_inside
from tests.torture.plant import PROJECT

needs_libvips = pytest.mark.skipif(find_spec("pyvips") is None, reason="needs rembg-watch[pictures]")


def torture(*words: str) -> str:
    """Run the program; it fails if a promise was broken, and says which."""
    command = [sys.executable, "-m", "tests.torture", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, cwd=PROJECT, env=os.environ
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_kills_lose_nothing_and_double_no_more_than_was_in_flight() -> None:
    assert "half-made seen                               0" in torture("kill", "--pictures", "100", "--kills", "5")


@needs_libvips
def test_kills_while_files_are_made_lose_none_and_show_none_that_is_half_made() -> None:
    assert "half-made seen                               0" in torture("kill-files", "--pictures", "60", "--kills", "8")


def test_sigterm_doubles_nothing() -> None:
    assert "calls for content paid before                0" in torture("sigterm", "--pictures", "60", "--sigterm", "4")


def test_a_flood_that_overflows_the_kernels_queue_loses_nothing() -> None:
    assert "lost                                         0" in torture("flood", "--pictures", "400", "--frozen", "200")


def test_pictures_written_into_new_trees_and_moved_in_with_them_are_found_once() -> None:
    torture("trees", "--pictures", "60")


def test_slow_writers_empty_placeholders_and_old_dates_cost_one_call_each() -> None:
    torture("fitful", "--pictures", "8", "--placeholder", "3")


def test_what_was_delivered_costs_nothing_again() -> None:
    torture("again", "--pictures", "60", "--remounts", "2")


def test_a_full_output_disk_delays_what_is_paid_and_nothing_is_paid_again() -> None:
    if way_inside() is None:
        pytest.skip("mounting is not permitted here")
    assert "answers that waited" in torture("full-disk", "--pictures", "30")


def test_names_of_random_bytes_are_delivered() -> None:
    torture("names", "--pictures", "40", "--sandbox-latency", "0")

"""
How far Hypothesis searches: at a desk, in CI and at night.

``HYPOTHESIS_PROFILE`` names a profile; without it, CI is recognised by ``CI``. Ordinary properties keep their own
number of examples everywhere: it is the state machines whose price grows with every example.
"""

import os

from hypothesis import HealthCheck, settings

EXAMPLES = {"local": 20, "ci": 60, "night": 2_000}
"""Examples of a state machine, by profile."""

PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "local")


def load() -> None:
    """Register the profiles and load the one that the environment asks for."""
    for name in EXAMPLES:
        # A machine that stands still for 0.2 s is no finding.
        settings.register_profile(name, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile(PROFILE)


def machine_settings(**more: object) -> settings:
    """Settings of a state machine with as many examples as the profile gives it."""
    return settings(max_examples=EXAMPLES[PROFILE], stateful_step_count=40, deadline=None, **more)

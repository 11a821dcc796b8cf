"""
The verbs of development: ``nox -l`` lists them, CONTRIBUTING.md explains them, CI runs them.

Most run in the environment that nox itself is installed in. Only those that ask for other versions, of packages or of
Python, make environments of their own below ``.nox``.
"""

import re
import sys
from pathlib import Path

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)  # as the classifiers promise
TESTED = "constraints/tested.txt"
BIN = Path(sys.executable).parent

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "quick"]
nox.options.error_on_missing_interpreters = False  # nox says which were missing
nox.options.reuse_venv = "yes"


def here(session: nox.Session, command: str, *words: str) -> None:
    """Run a program of the environment that nox runs in."""
    session.run(str(BIN / command), *words, external=True)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check format, style, types and the layers."""
    here(session, "ruff", "format", "--check", ".")
    here(session, "ruff", "check", ".")
    here(session, "mypy")
    here(session, "lint-imports")


@nox.session(venv_backend="none")
def quick(session: nox.Session) -> None:
    """Run the tests that neither boot, mount, kill nor start the whole program."""
    here(session, "python", "-m", "pytest", "-m", "quick", *session.posargs)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run every test that this machine permits."""
    here(session, "python", "-m", "pytest", *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run the quick tests on the oldest Python with the oldest packages that pyproject.toml permits."""
    oldest = Path(session.create_tmp()) / "lowest.txt"
    oldest.write_text("\n".join(lower_bounds()) + "\n", encoding="utf-8")
    session.install("-c", str(oldest), "-e", ".[test]")
    session.run("python", "-m", "pytest", "-m", "quick", *session.posargs)


def lower_bounds() -> list[str]:
    """Pin every direct dependency to the lowest version that pyproject.toml permits; what those need stays free."""
    optional = PROJECT["project"]["optional-dependencies"]
    every = [*PROJECT["project"]["dependencies"], *(one for group in optional.values() for one in group)]
    return [re.sub(r">=([^,]+).*", r"==\1", one) for one in every if "[" not in one]


@nox.session(python=PYTHONS)
def pythons(session: nox.Session) -> None:
    """Run the quick tests on each Python that the classifiers promise and this machine has."""
    session.install("-c", TESTED, "-e", ".[test]")
    session.run("python", "-m", "pytest", "-m", "quick", *session.posargs)


@nox.session(venv_backend="none")
def night(session: nox.Session) -> None:
    """Let the state machines search two thousand examples each, where nobody has looked yet."""
    machines = ("tests/test_state_machine.py", "tests/ledger/conformance/test_machine.py")
    session.env["HYPOTHESIS_PROFILE"] = "night"
    here(session, "python", "-m", "pytest", "-n", "2", *machines, *session.posargs)


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Measure what the README's figures say: everything, or one benchmark with options of its own."""
    every = ("pacing", "ledger", "throughput", "memory", "start", "idle", "latency", "pacing_real")
    for name, *options in [session.posargs] if session.posargs else [[name] for name in every]:
        here(session, "python", "-m", f"benchmarks.{name}", *options)


@nox.session(python=PYTHONS[0], reuse_venv=False)
def constraints(session: nox.Session) -> None:
    """Write down the newest versions that pyproject.toml permits; test with them before the file is committed."""
    session.install("--upgrade", "--upgrade-strategy", "eager", "-e", ".[dev]")
    listed = session.run("python", "-m", "pip", "list", "--format=freeze", "--exclude-editable", silent=True) or ""
    ours = [line for line in listed.splitlines() if "==" in line and not line.startswith(("pip==", "setuptools=="))]
    Path(TESTED).write_text("\n".join(sorted(ours, key=str.lower)) + "\n", encoding="utf-8")

"""What is documented is what is there, in the example file, the README and ``docs/``: nothing less and nothing more."""

import ast
import dataclasses
import inspect
import io
import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from rembg_watch import __version__, config
from rembg_watch.api import client, cutout, errors, params, responses, upload
from rembg_watch.api.refusals import ERROR_TABLE
from rembg_watch.cli import app
from rembg_watch.cli.credits_view import AccountView, UsageQuery, as_plain_values
from rembg_watch.config.delivering import DeliverableSettings, ReviewLimits
from rembg_watch.config.origins import Loc
from rembg_watch.config.sentences import known
from rembg_watch.config.settings import ANY_NAME, REPEATED, FolderOptions, FolderSettings, Settings
from rembg_watch.errors import ExitCode, exit_code
from rembg_watch.sandbox import Sandbox
from rembg_watch.sandbox.faults import SPOILERS, Fault, FaultKind
from rembg_watch.sandbox.openapi import document

ROOT = Path(__file__).parent.parent
EXAMPLE = (ROOT / "config.example.toml").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NOXFILE = (ROOT / "noxfile.py").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NOT_IN_A_FILE = {("api", "key")}  # a key in a configuration file is refused


ONE_VALUE = {"tokens"}  # a table that a folder has as one setting


def uncommented(text: str) -> str:
    return re.sub(r"^#(?=\w+ = |\[)", "", text, flags=re.MULTILINE)


def leaves(tree: dict[str, Any], above: Loc = ()) -> Iterator[Loc]:
    for name, value in tree.items():
        value = value[0] if name == "folders" else value
        value = {ANY_NAME: value[ANY_NAME]} if name == "deliverables" else value
        if isinstance(value, dict) and name not in ONE_VALUE:
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name)


def test_the_example_shows_every_setting_and_no_other() -> None:
    assert set(leaves(tomllib.loads(uncommented(EXAMPLE)))) == set(known()) - NOT_IN_A_FILE


def test_the_example_is_what_init_writes() -> None:
    written = config.template(input="/srv/studio/exports", output="/srv/studio/cutouts", name="catalogue")
    assert written == EXAMPLE, "write it anew: config.template(...) > config.example.toml"


def test_each_default_in_the_example_is_the_real_one() -> None:
    shown = tomllib.loads(uncommented(EXAMPLE))
    folder = shown.pop("folders")[0]
    options, limits = folder.pop("options"), folder.pop("review_limits")
    deliverable = shown.pop("deliverables")[ANY_NAME]
    real = Settings(state_dir=Path("/var/lib/rembg-watch"))
    for table, model in [
        (options, FolderOptions()),
        (limits, ReviewLimits()),
        (folder, FolderSettings(name="n", input="/i", output="/o")),
        (deliverable, DeliverableSettings()),
    ]:
        for name, value in table.items():
            field = type(model).model_fields[name]
            if not field.examples and not field.is_required():
                assert value == getattr(model, name), name
    for section, table in shown.items():
        if isinstance(table, dict):
            for name, value in table.items():
                if not getattr(type(getattr(real, section)).model_fields[name], "examples", None):
                    assert value == getattr(getattr(real, section), name), f"{section}.{name}"


@pytest.mark.parametrize("delivers", [False, True])
def test_the_example_with_every_line_uncommented_has_nothing_wrong_but_what_it_needs_a_disk_for(
    tmp_path: Path, delivers: bool
) -> None:
    path = tmp_path / "config.toml"
    text = uncommented(EXAMPLE).replace('after = "keep"', 'after = "move"')
    text = text.partition("[folders.options]")[0] if delivers else re.sub("^deliver = .*", "", text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")
    reading = config.read(path, environ={"HOME": str(tmp_path), "REMBG_WATCH_API__KEY": "k"})
    disk = {config.FindingKind.AWAY, config.FindingKind.ACCESS, config.FindingKind.STATE}
    assert [str(found) for found in reading.findings if found.kind not in disk] == []


@pytest.mark.parametrize("loc", sorted(known()), ids=".".join)
def test_every_setting_is_explained(loc: Loc) -> None:
    model = Settings
    for name in loc[:-1]:
        model = REPEATED.get(name) or (model if name == ANY_NAME else model.model_fields[name].annotation)
    assert (
        (model.model_fields[loc[-1]].description or "")
        .strip()
        .endswith((".", "keep | move | delete", "error", "journal"))
    )


def test_the_example_is_not_wider_than_a_screen() -> None:
    assert [line for line in EXAMPLE.splitlines() if len(line) > 120] == []


# --- the README -----------------------------------------------------------------------------------

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group has some
OWN_SECTION = {"remove": "One picture, by hand", "credits": "The account", "sandbox": "The sandbox"}
NAMESPACE = {
    name: value
    for module in (client, cutout, errors, params, responses, upload)
    for name, value in vars(module).items()
    if isinstance(value, type)
}


def section(title: str) -> str:
    return re.split(r"^## ", README.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def table_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def coverage() -> list[list[str]]:
    return table_rows(section("The library").partition("### What the API offers")[2])


def options(command: str) -> list[str]:
    found = [name for one in COMMANDS[command].params for name in (*one.opts, *one.secondary_opts)]
    return [name for name in found if name.startswith("--")]


def row_of(command: str) -> str:
    row = re.search(rf"^\| `{command}[ `].*$", section("Commands"), re.MULTILINE)
    assert row, f"no row for {command}"
    return row.group()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme_with_each_of_its_options(command: str) -> None:
    words = row_of(command) + (section(OWN_SECTION[command]) if command in OWN_SECTION else "")
    for option in options(command):
        place = section("Commands") if option == "--config" else words
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", place), f"{command} {option} is not explained"


def test_the_readme_names_no_command_and_no_option_that_is_not_there() -> None:
    named = {quoted(row[0])[0].split()[0] for row in table_rows(section("Commands")) if row[0].startswith("`")}
    assert named == set(COMMANDS)
    for command, title in OWN_SECTION.items():
        for row in table_rows(section(title)):
            assert set(re.findall(r"--[a-z0-9-]+", row[0])) <= set(options(command)), row


def test_the_readme_has_every_exit_code_and_no_other() -> None:
    told = [int(row[0]) for row in table_rows(section("Commands")) if row[0].isdigit()]
    assert told == sorted(ExitCode)


def told_settings() -> dict[Loc, str]:
    """Return every setting in the README with its default as it is written there."""
    found: dict[Loc, str] = {}
    above: tuple[str, ...] = ()
    for name_cell, default, *_ in table_rows(section("Settings"))[1:]:
        names = quoted(name_cell)
        if names[0].startswith("["):
            above = tuple(names.pop(0).strip("[]").split("."))
        for name in names:
            found[(*above, name)] = default
    return found


def test_the_readme_has_every_setting_and_no_other() -> None:
    assert set(told_settings()) == set(known()) - NOT_IN_A_FILE
    assert "`REMBG_WATCH_API__KEY`" in README


def default_of(loc: Loc) -> object:
    model: Any = Settings
    for name in loc[:-1]:
        inner = {**REPEATED, "options": FolderOptions, ANY_NAME: model}
        model = inner.get(name) or model.model_fields[name].annotation
    return model.model_fields[loc[-1]].get_default(call_default_factory=True)


def test_each_default_in_the_readme_is_the_real_one() -> None:
    compared = {loc: told for loc, told in told_settings().items() if re.fullmatch(r"`[^`]+`|[0-9]+|true|false", told)}
    assert len(compared) > 25
    for loc, told in compared.items():
        default = default_of(loc)
        real = f"{default:g}" if isinstance(default, float) else str(default)
        assert told.strip("`") == (real.lower() if isinstance(default, bool) else real), loc


def test_the_readme_has_every_fault_and_says_which_are_billed() -> None:
    told = section("The sandbox")
    before, _, after = told.partition("Faults before billing:")[2].partition("An order")[0].partition("After billing:")
    assert set(quoted(after)) == set(SPOILERS)
    assert set(quoted(before)) == set(FaultKind) - SPOILERS
    measures = {one.removesuffix("=") for one in quoted(told) if one.endswith("=")}
    assert measures == {one.name for one in dataclasses.fields(Fault)} - {"kind"}


def test_the_readme_has_every_setting_of_the_control_route() -> None:
    told = section("The sandbox").partition("POST /sandbox/settings`")[2].partition("\n\n")[0]
    with httpx.Client(transport=Sandbox(engine="flat").transport()) as http:
        refusal = http.post("http://x/sandbox/settings", json={"nonsense": 1}).json()["error"]
    assert set(quoted(told)) == set(refusal.partition("there are ")[2].split(", "))


def test_the_orders_of_the_readme_can_be_read() -> None:
    rows = {quoted(row[0])[0].split()[0]: row[-1] for row in table_rows(section("The sandbox"))[1:]}
    rates = quoted(rows["--rate"])
    assert len(rates) >= 4
    for rate in rates:
        assert Sandbox(engine="flat", rate=rate).rate is not None
    orders = quoted(rows["--fault"])
    assert len(orders) >= 3
    assert Sandbox(engine="flat", faults=orders).orders.standing()


# --- the table of coverage ------------------------------------------------------------------------


def resolve(name: str) -> bool:
    """Say whether ``Owner``, ``Owner.attribute``, ``Owner(argument=)`` or ``Owner.method(argument=)`` is there."""
    found = re.fullmatch(r"(\w+)(?:\.(\w+))?(?:\((\w+)=\))?", name)
    owner = NAMESPACE.get(found[1]) if found else None
    if found is None or owner is None:
        return False
    named = owner if found[2] is None else getattr(owner, found[2], None)
    is_fact = issubclass(owner, errors.RembgError) and found[2] in inspect.signature(owner).parameters
    return is_fact or (named is not None and (found[3] is None or found[3] in inspect.signature(named).parameters))


def test_each_name_of_the_library_in_the_table_of_coverage_is_there() -> None:
    names = [name for row in coverage() for name in quoted(row[1]) if name[0].isupper()]
    assert len(names) > 60
    assert [name for name in names if not resolve(name)] == []
    assert not resolve("Client.remove_background(nonsense=)")
    assert not resolve("Account.nonsense")


def test_each_option_and_each_setting_in_the_table_of_coverage_is_there() -> None:
    settings = {loc[-1] for loc in known()}
    orders = set(FaultKind) | {"use_app", "new_period", "is_synced", "/", "/api/openapi"} | set(options("sandbox"))
    for row in coverage():
        by_hand = {one for one in quoted(row[2]) if one.startswith("--")}
        assert by_hand <= set(options("remove")) | set(options("credits")), row
        assert {one for one in quoted(row[3]) if one not in {"failed", "held", "Account.spendable"}} <= settings, row
        assert set(quoted(row[4])) <= orders, row


def test_each_documented_error_in_the_table_of_coverage_has_its_class_and_its_exit_code() -> None:
    told = {code: row for row in coverage() for code in quoted(row[1])}
    for known_error in ERROR_TABLE:
        row = told[known_error.code]
        assert known_error.error.__name__ in quoted(row[1]), known_error
        assert known_error.throttle is None or f"Throttle.{known_error.throttle.name}" in quoted(row[1])
        assert row[2].startswith(str(int(exit_code(known_error.error(message="No."))))), known_error


def test_each_parameter_and_query_of_the_api_is_in_the_table_of_coverage() -> None:
    told = {name for row in coverage() for name in quoted(row[0])}
    described = document()["paths"]
    form = described["/rmbg"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    queries = {one["name"] for one in described["/api/membership-usage"]["get"]["parameters"]}
    assert set(form) - {"return_base64"} <= told
    assert queries - {"expand"} <= told
    assert "expand=billing_cycle" in told
    assert (set(ANSWERED) | set(ANSWERED["billingCycle"])) - {"billingCycle"} <= told


ANSWERED: dict[str, Any] = {
    "membership": "Premium-20000",
    "credits": 18500,
    "prepaidCredits": 2000,
    "app_usage": 8500,
    "api_usage": 10000,
    "billingCycle": {
        "periodStartUnix": 1740441600,
        "periodEndUnix": 1743033599,
        "appUsage": 4200,
        "apiUsage": 5100,
        "includedCredits": 18500,
        "prepaidCredits": 2000,
        "usedIncludedCredits": 9300,
        "remainingIncludedCredits": 9200,
        "stripeBillingSynced": True,
    },
}


def test_the_fields_that_credits_is_said_to_show_are_in_its_json() -> None:
    account = responses.account_from(ANSWERED)
    shown = as_plain_values(AccountView(account=account, query=UsageQuery(), now=datetime(2025, 3, 1, tzinfo=UTC)))
    rows = coverage()[[row[2] for row in coverage()].index("`credits`") + 1 :]
    paths = [path for row in rows for path in quoted(row[2]) if not path.startswith("--") and path != "expand"]
    assert len(paths) >= 12
    for path in paths:
        value: Any = shown
        for name in path.split("."):
            value = value[name]
        assert value is not None, path


# --- the architecture and the glossary -------------------------------------------------------------

PACKAGE = ROOT / "rembg_watch"
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
DIAGRAM = ARCHITECTURE.partition("```\n")[2].partition("```")[0]
A_PATH = re.compile(r"(?:rembg_watch/)?[\w@.-]+(?:/[\w@.-]+)*(?:\.(?:py|toml|md|service)|/)")
IN_THE_SPOOL = {"spool/", "spool/rejected/", "rejected/"}
A_LOCK = re.compile(r"^ *(?:self\.)?(\w+)(?:: [^=]+)? = .*\bthreading\.(?:R?Lock|Condition|(?:Bounded)?Semaphore)\(")


def named_in(text: str) -> list[str]:
    """Return what stands in backticks, but for the blocks that are drawn."""
    return quoted(re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def is_there(path: str) -> bool:
    return any((root / path).exists() for root in (ROOT, PACKAGE))


def locks() -> Iterator[tuple[str, str, bool]]:
    """Name every lock of the package but the sandbox's: module, attribute, and whether a comment stands beside it."""
    for module in MODULES:
        lines = (PACKAGE / module).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if not module.startswith("sandbox/") and (lock := A_LOCK.match(line)):
                above = itertools.takewhile(lambda one: A_LOCK.match(one) or "#" in one, reversed(lines[:number]))
                yield module, lock[1], any("#" in one for one in [line, *above])


@pytest.mark.parametrize("text", [ARCHITECTURE, GLOSSARY], ids=["architecture", "glossary"])
def test_every_path_in_the_docs_is_there(text: str) -> None:
    named = {path for words in named_in(text) for path in A_PATH.findall(words)} - IN_THE_SPOOL
    assert len(named) > 40
    assert [path for path in sorted(named) if not is_there(path)] == []


def test_every_path_in_the_picture_is_there() -> None:
    named = re.findall(r"[a-z_/]+(?:\.py|/(?= |$))", DIAGRAM, flags=re.MULTILINE)
    assert len(named) > 20
    assert [path for path in named if not is_there(path)] == []


def test_every_package_and_module_is_in_the_architecture_or_in_the_docstring_of_its_package() -> None:
    floors = quoted(ARCHITECTURE.partition("## 2.")[2].partition("## 3.")[0])
    packages = {module.partition("/")[0] for module in MODULES if "/" in module}
    assert {f"{package}/" for package in packages} <= set(floors)
    for module in MODULES:
        parent, name = (PACKAGE / module).parent, Path(module).stem
        table = ast.get_docstring(ast.parse((parent / "__init__.py").read_text(encoding="utf-8"))) or ""
        is_in_table = re.search(rf"``(?:\w+\.)*{name}``", table)
        assert name == "__init__" or is_in_table or module in floors or name in floors, module


def test_the_floors_are_those_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(one["layers"] for one in contracts if one["id"] == "layers")
    real = {name: len(layers) - place for place, layer in enumerate(layers) for name in layer.split(" | ")}
    rows = [row for row in table_rows(ARCHITECTURE.partition("## 2.")[2]) if row[0].isdigit()]
    told = {re.sub(r"\.py$|/$", "", name): int(row[0]) for row in rows for name in quoted(row[1])}
    assert told == {name: floor for name, floor in real.items() if name != "__main__"}
    assert {one["id"] for one in contracts} <= set(named_in(ARCHITECTURE))


def test_every_name_in_the_architecture_is_somewhere_in_the_project() -> None:
    files = [
        *PACKAGE.rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "systemd").rglob("*.service"),
        ROOT / "pyproject.toml",
    ]
    words = set(re.findall(r"\w+", " ".join(path.read_text(encoding="utf-8") for path in files)))
    named = {
        name for name in named_in(ARCHITECTURE) if re.fullmatch(r"[A-Za-z_][\w.]*", name) and not A_PATH.fullmatch(name)
    }
    assert len(named) > 80
    assert [name for name in sorted(named) if not set(name.split(".")) <= words] == []


def test_every_lock_is_in_the_table_of_locks_and_no_other() -> None:
    rows = [quoted(row[0]) for row in table_rows(ARCHITECTURE.partition("## 4.")[2].partition("The order")[0])[1:]]
    assert len(rows) > 20
    assert sorted((row[0], row[1]) for row in rows) == sorted({(module, name) for module, name, _ in locks()})


def test_every_lock_says_beside_it_what_it_guards() -> None:
    assert [(module, name) for module, name, is_explained in locks() if not is_explained] == []


def test_every_name_in_the_glossary_is_in_the_module_beside_it() -> None:
    rows = [row for row in table_rows(GLOSSARY) if row[0] != "term"]
    assert len(rows) > 80
    for row in rows:
        where = quoted(row[2])
        text = "".join((PACKAGE / path).read_text(encoding="utf-8") for path in where if (PACKAGE / path).is_file())
        names = [name for name in where if not A_PATH.fullmatch(name)]
        assert where, row
        assert [name for name in names if text and not re.search(rf"\b{name}\b", text)] == [], row


# --- the examples ---------------------------------------------------------------------------------


def picture() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 48), 60).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def test_the_example_of_the_library_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jpg").write_bytes(picture())
    monkeypatch.chdir(tmp_path)
    example = section("The library").partition("```python\n")[2].partition("```")[0]
    with Sandbox(engine="flat", credits=10).serve() as server:
        for key in ("sandbox-key", "wrong"):
            local = f'Client("{key}", url="{server.url}", usage_url="{server.usage_url}")'
            assert example.count('Client("YOUR_API_KEY")') == 1
            exec(compile(example.replace('Client("YOUR_API_KEY")', local), "README", "exec"), {})
    with Image.open("out.png") as cutout:
        assert (cutout.format, cutout.size) == ("PNG", (800, 600))
    assert capsys.readouterr().out.splitlines() == ["9", "invalid api key no False account"]


def test_the_examples_of_remove_run(tmp_path: Path) -> None:
    example = section("One picture, by hand").partition("```sh\n")[2].partition("```")[0]
    for name in ("IMG_1.jpg", "IMG_2.jpg"):
        (tmp_path / name).write_bytes(picture())
    with Sandbox(engine="flat").serve() as server:
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "REMBG_WATCH_API__KEY": "sandbox-key",
            "REMBG_WATCH_API__URL": server.url,
            "REMBG_WATCH_API__USAGE_URL": server.usage_url,
        }
        run = subprocess.run(
            ["bash", "-e", "-c", example],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    made = ["IMG_1.webp", "cutouts/IMG_1.png", "cutouts/IMG_2.png", "white.webp"]
    assert [kind_of(tmp_path / name) for name in made] == ["WEBP", "PNG", "PNG", "WEBP"]


def kind_of(path: Path) -> str | None:
    with Image.open(path) as opened:
        return opened.format


# --- the way in -----------------------------------------------------------------------------------


def test_the_verbs_of_contributing_are_those_of_the_noxfile() -> None:
    verbs = re.findall(r"^@nox\.session.*\ndef (\w+)", NOXFILE, re.MULTILINE)
    table = CONTRIBUTING.partition("| verb |")[2].partition("\n\n")[0]
    assert [quoted(row[0])[0] for row in table_rows(table) if quoted(row[0])] == verbs


def test_ci_runs_the_commands_of_the_readme_and_no_other() -> None:
    if not (ROOT / ".ci" / "run").exists():
        pytest.skip("a source distribution has no CI")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = re.findall(r"^(?:python3 -m venv|\.venv/).*$", script, re.MULTILINE)
    assert len(commands) == 2
    assert [command for command in commands if command not in README] == []


def test_a_contributor_installs_what_the_readme_and_ci_install() -> None:
    (install,) = re.findall(r"^python3 -m venv.*$", CONTRIBUTING, re.MULTILINE)
    assert f"{install} && .venv/bin/python -m pytest" in README


def test_the_hooks_before_a_commit_are_the_checks_of_lint() -> None:
    hooks = re.findall(r"entry: \.venv/bin/(.+)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    lint = re.findall(r"^def lint.*?(?=^@)", NOXFILE, re.MULTILINE | re.DOTALL)[0]
    checks = [" ".join(re.findall(r'"([\w-]+)"', call)) for call in re.findall(r"here\((.*)\)", lint)]
    assert [hook.split() for hook in hooks] == [[w for w in check.split() if w[0] != "-"] for check in checks]


def test_the_promised_pythons_begin_with_the_required_one_and_leave_none_out() -> None:
    assert "PYTHONS = nox.project.python_versions(PROJECT)" in NOXFILE
    named = [
        re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", one) for one in PROJECT["project"]["classifiers"]
    ]
    minors = [int(found[1]) for found in named if found]
    assert minors == list(range(minors[0], minors[0] + len(minors)))
    assert PROJECT["project"]["requires-python"] == f">=3.{minors[0]}"
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py3{minors[0]}"
    assert PROJECT["tool"]["mypy"]["python_version"] == f"3.{minors[0]}"


def test_every_dependency_was_tested_in_one_version_that_is_permitted() -> None:
    tested = dict(line.split("==") for line in (ROOT / "constraints" / "tested.txt").read_text().splitlines())
    versions = {canonicalize_name(name): version for name, version in tested.items()}
    groups = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    wanted = [Requirement(one) for group in groups for one in group]
    theirs = [one for one in wanted if one.name != PROJECT["project"]["name"]]
    assert len(theirs) > 20
    assert [
        str(one) for one in theirs if not one.specifier.contains(versions.get(canonicalize_name(one.name), "0"))
    ] == []


def test_every_dependency_has_a_lowest_version() -> None:
    """The oldest ones are tested by `nox -s lowest`, which reads them there."""
    groups = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    bounds = [one for group in groups for one in group if not one.startswith(PROJECT["project"]["name"])]
    assert [one for one in bounds if not re.search(r"[>=]=[\d.]+", one)] == []


def test_the_latest_version_has_its_changes() -> None:
    assert f"\n## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

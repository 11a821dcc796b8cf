"""``init`` and ``sandbox``: what comes before the first run."""

from pathlib import Path
from typing import Annotated

import typer

from rembg_watch.cli.configured import ConfigFile
from rembg_watch.cli.console import note, say
from rembg_watch.config import FOR_LOOKING, find, load, template
from rembg_watch.errors import UsageError
from rembg_watch.host.mounts import shares
from rembg_watch.host.processors import MANY_WORKERS
from rembg_watch.host.systemd import drop_in

SANDBOX_MISSING = "the sandbox is not installed: pip install 'rembg-watch[sandbox]'"


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("rembg-watch.toml"),
    input_: Annotated[Path | None, typer.Option("--input", "-i", help="Where pictures are dropped.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where cut-outs appear.")] = None,
    key_file: Annotated[Path | None, typer.Option("--key-file", help="The file that holds the API key.")] = None,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Print a drop-in for the folders of a configuration instead.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Write a commented configuration."""
    if systemd:
        settings = load(find(config), tolerate=FOR_LOOKING)
        is_crowded = settings.pool.workers >= MANY_WORKERS
        say(drop_in(settings.folders, shares=shares(), chooses_processor=is_crowded).rstrip("\n"))
        return
    if path.exists():
        raise UsageError(f"{path} is there already and stays as it is: name another file, or move it away")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.absolute().parent}: make it, or name another file")
    source = (input_ or Path(typer.prompt("Folder where pictures are dropped"))).expanduser().absolute()
    target = (output or Path(typer.prompt("Folder where cut-outs appear"))).expanduser().absolute()
    path.write_text(template(input=source, output=target, key_file=key_file), encoding="utf-8")
    say(f"written: {path}")
    note(f"Next: the API key (see key_file in it), then: rembg-watch check --config {path}")


def sandbox(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: a free one.")] = 8080,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    key: Annotated[str, typer.Option("--key", help="The API key that is taken.")] = "sandbox-key",
    credits_: Annotated[int, typer.Option("--credits", min=0, help="Included credits of each period.")] = 500,
    prepaid: Annotated[int, typer.Option("--prepaid", min=0, help="Prepaid credits.")] = 0,
    rate: Annotated[
        str | None, typer.Option("--rate", help="The short-term limit: 5 (requests a second), or as sliding:120:60.")
    ] = None,
    latency: Annotated[float, typer.Option("--latency", min=0, help="Seconds that each answer takes.")] = 0.0,
    engine: Annotated[str, typer.Option("--engine", help="u2net, or fast or flat for load.")] = "u2net",
    price: Annotated[int, typer.Option("--price", min=0, help="Credits that one picture costs.")] = 1,
    daily_limit: Annotated[int, typer.Option("--daily-limit", min=0, help="Pictures a day without a key.")] = 5,
    unknown_key: Annotated[
        str, typer.Option("--unknown-key", help="refuse: 401; anonymous: as without a key.")
    ] = "refuse",
    unverified: Annotated[bool, typer.Option("--unverified", help="The account's e-mail is not verified.")] = False,
    unsynced: Annotated[bool, typer.Option("--unsynced", help="Billing windows follow the UTC month.")] = False,
    retry_after: Annotated[bool, typer.Option("--retry-after", help="Short-term 429s say when to come back.")] = False,
    fault: Annotated[list[str] | None, typer.Option("--fault", help="An order to misbehave; see the README.")] = None,
) -> None:
    """Emulate the API on this machine."""
    try:
        from rembg_watch.sandbox import Sandbox
        from rembg_watch.sandbox.server import run_server
    except ImportError as error:
        raise UsageError(SANDBOX_MISSING) from error
    if unknown_key not in ("refuse", "anonymous"):
        raise UsageError(f"--unknown-key must be refuse or anonymous, not {unknown_key!r}")
    try:
        emulator = Sandbox(
            key,
            credits=credits_,
            prepaid=prepaid,
            rate=rate,
            latency_s=latency,
            engine=engine,
            price=price,
            daily_limit=daily_limit,
            unknown_key=unknown_key,
            is_verified=not unverified,
            is_synced=not unsynced,
            has_retry_after=retry_after,
            faults=fault or (),
        )
        run_server(
            emulator,
            host=host,
            port=port,
            on_listening=lambda server: print(f"listening on {server.base_url}", flush=True),
        )
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error

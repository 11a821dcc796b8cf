"""``sandbox``: the API emulated on this machine."""

from typing import Annotated

import typer

from rembg_watch.errors import UsageError

SANDBOX_MISSING = "the sandbox is not installed: pip install 'rembg-watch[sandbox]'"


def sandbox(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port to listen on; 0 chooses a free one.")
    ] = 8080,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    key: Annotated[str, typer.Option("--key", help="The API key to accept.")] = "sandbox-key",
    credits_: Annotated[int, typer.Option("--credits", min=0, help="Credits included in each period.")] = 500,
    prepaid: Annotated[int, typer.Option("--prepaid", min=0, help="Prepaid credits.")] = 0,
    rate: Annotated[
        str | None,
        typer.Option("--rate", help="The short-term limit: 5 (requests a second), or a form such as sliding:120:60."),
    ] = None,
    latency: Annotated[float, typer.Option("--latency", min=0, help="Seconds that each answer takes.")] = 0.0,
    engine: Annotated[str, typer.Option("--engine", help="u2net; fast or flat for load tests.")] = "u2net",
    price: Annotated[int, typer.Option("--price", min=0, help="Credits charged for one picture.")] = 1,
    daily_limit: Annotated[int, typer.Option("--daily-limit", min=0, help="Pictures a day without a key.")] = 5,
    unknown_key: Annotated[
        str,
        typer.Option(
            "--unknown-key", help="What happens to other keys: refuse (401), or anonymous (as without a key)."
        ),
    ] = "refuse",
    unverified: Annotated[bool, typer.Option("--unverified", help="The account's e-mail is not verified.")] = False,
    unsynced: Annotated[bool, typer.Option("--unsynced", help="Billing windows follow the UTC month.")] = False,
    retry_after: Annotated[bool, typer.Option("--retry-after", help="Send Retry-After with short-term 429s.")] = False,
    fault: Annotated[list[str] | None, typer.Option("--fault", help="A fault to inject; see the README.")] = None,
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

"""``check``: what keeps the service from its work is found by trying, and nothing is paid."""

import os
import resource
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path, PurePath

import pytest

from rembg_watch import check, config
from rembg_watch.api.errors import (
    EmailNotVerifiedError,
    KeyRefusedError,
    RembgError,
    ServerError,
    ThrottledError,
    UnreachableError,
)
from rembg_watch.api.responses import Account, BillingCycle
from rembg_watch.check.folders import counted, tried
from rembg_watch.check.protection import Protection
from rembg_watch.check.unit import assignments, credential_path, properties, unit_for
from rembg_watch.config import Finding, FindingKind, Reading, Severity
from rembg_watch.errors import ExitCode
from rembg_watch.paths import Folder
from rembg_watch.sandbox import Sandbox

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = "k-1f9e5b7a-secret"
Read = Callable[..., Reading]
Proc = Callable[..., Path]


def ignores_modes() -> bool:
    """Say whether this process reads and writes whatever the modes say, as root usually does."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("CapEff:")[2].split()[0], 16) & 0b110)


needs_modes = pytest.mark.skipif(ignores_modes(), reason="modes mean nothing to root")


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a sound configuration with one folder, and whatever is added to it."""
    for name in ("in", "out", "state"):
        (tmp_path / name).mkdir()

    def read(folder: str = "", *, top: str = "", **environ: str) -> Reading:
        path = tmp_path / "config.toml"
        text = f'state_dir = "state"\n{top}\n[[folders]]\nname = "a"\ninput = "in"\noutput = "out"\n{folder}\n'
        path.write_text(text)
        return config.read(path, environ={"HOME": str(tmp_path), "REMBG_WATCH_API__KEY": KEY} | environ)

    return read


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    """Pretend to be a kernel with these mounts and this limit."""

    def proc(*lines: str, watches: int = 65536) -> Path:
        root = tmp_path / "proc"
        (root / "self").mkdir(parents=True, exist_ok=True)
        (root / "sys/fs/inotify").mkdir(parents=True, exist_ok=True)
        table = ["22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw", *lines]
        (root / "self" / "mountinfo").write_text("\n".join(table) + "\n")
        (root / "sys/fs/inotify/max_user_watches").write_text(f"{watches}\n")
        return root

    return proc


def account(spendable: int = 10, *, start: datetime = NOW - timedelta(days=3), days: int = 30) -> Account:
    cycle = BillingCycle(
        period_start_at=start,
        period_end_at=start + timedelta(days=days),
        app_usage=Decimal(0),
        api_usage=Decimal(0),
        included_credits=Decimal(spendable),
        prepaid_credits=Decimal(0),
        used_included=Decimal(0),
        remaining_included=Decimal(spendable),
        stripe_billing_synced=True,
    )
    return Account(
        membership="Premium",
        credits=Decimal(spendable),
        prepaid_credits=Decimal(0),
        app_usage=Decimal(0),
        api_usage=Decimal(0),
        billing_cycle=cycle,
    )


def findings(
    reading: Reading, proc: Path, *, answer: object = None, service: dict[str, str] | None = None
) -> list[Finding]:
    def ask(_: config.Settings) -> Account:
        if isinstance(answer, RembgError):
            raise answer
        assert isinstance(answer, Account)
        return answer

    ask_or_not = ask if answer is not None else None
    return check.findings(reading, ask=ask_or_not, now=NOW, proc=proc, service=service or {})


def bad(found: list[Finding]) -> list[Finding]:
    return [one for one in found if one.severity is not Severity.NOTE]


def only(found: list[Finding]) -> Finding:
    assert len(found) == 1, [str(one) for one in found]
    return found[0]


def test_a_sound_configuration_has_nothing_but_good_news(read: Read, proc: Proc) -> None:
    found = findings(read(), proc(), answer=account(10))
    assert [str(one) for one in found] == ['membership "Premium": 10 credits can be spent, enough for 10 pictures']
    assert check.verdict(found) is ExitCode.OK


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [("./old/**", "old/**"), ("shoot-7", "**/shoot-7/**")],
)
def test_what_a_pattern_that_matches_nothing_was_meant_to_say_is_guessed(
    read: Read, proc: Proc, pattern: str, meant: str
) -> None:
    found = only(bad(findings(read(f'exclude = ["{pattern}"]'), proc(), answer=account())))
    assert found.todo == f'take it out, or say what is meant, as in "{meant}"'


def test_nothing_is_left_behind_by_trying(read: Read, proc: Proc, tmp_path: Path) -> None:
    (tmp_path / "failed").mkdir()
    reading, kernel = read('after = "delete"\nfailed = "failed"'), proc()
    before = sorted(tmp_path.rglob("*"))
    findings(reading, kernel, answer=account())
    assert sorted(tmp_path.rglob("*")) == before


def test_problems_of_the_configuration_come_first_and_the_rest_is_checked_all_the_same(read: Read, proc: Proc) -> None:
    found = findings(read(top="[pool]\nworkers = 0"), proc(), answer=account(0))
    assert [one.severity for one in found] == [Severity.ERROR, Severity.WARNING]
    assert check.verdict(found) is ExitCode.CONFIG


def test_a_file_that_cannot_be_read_at_all_is_all_there_is_to_tell(tmp_path: Path, proc: Proc) -> None:
    (tmp_path / "config.toml").write_text("[")
    reading = config.read(tmp_path / "config.toml", environ={"HOME": str(tmp_path)})
    assert only(findings(reading, proc(), answer=account())).kind is FindingKind.FILE


class TestAccount:
    @pytest.mark.parametrize(
        ("error", "severity", "kind", "code"),
        [
            (KeyRefusedError(message="invalid api key"), Severity.ERROR, FindingKind.KEY_REFUSED, ExitCode.KEY_REFUSED),
            (EmailNotVerifiedError(message="verify"), Severity.ERROR, FindingKind.ACCOUNT, ExitCode.WAITING),
            (UnreachableError(message="no route"), Severity.ERROR, FindingKind.ACCOUNT, ExitCode.WAITING),
            (ServerError(message="down", status=503), Severity.ERROR, FindingKind.ACCOUNT, ExitCode.WAITING),
            (ThrottledError(message="too quickly", status=429), Severity.WARNING, FindingKind.ACCOUNT, ExitCode.OK),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, RembgError) else "",
    )
    def test_each_refusal_has_its_weight_and_its_exit_code(
        self, read: Read, proc: Proc, error: RembgError, severity: Severity, kind: FindingKind, code: ExitCode
    ) -> None:
        found = findings(read(), proc(), answer=error)
        told = only(found)
        assert (told.severity, told.kind, check.verdict(found)) == (severity, kind, code)
        assert error.message in told.what
        assert told.todo

    def test_a_refused_key_is_told_with_its_origin_and_without_itself(self, read: Read, proc: Proc) -> None:
        told = str(only(findings(read(), proc(), answer=KeyRefusedError(message="invalid api key"))))
        assert "REMBG_WATCH_API__KEY" in told
        assert KEY not in told

    def test_a_key_that_the_api_does_not_know_ends_in_77_without_a_paid_call(self, read: Read, proc: Proc) -> None:
        sandbox = Sandbox(key="another")
        ask = check.over_network(transport=sandbox.transport())
        found = check.findings(read(), ask=ask, now=NOW, proc=proc(), service={})
        assert (only(found).kind, check.verdict(found)) == (FindingKind.KEY_REFUSED, ExitCode.KEY_REFUSED)

    def test_a_wrong_configuration_outweighs_a_refused_key(self, read: Read, proc: Proc) -> None:
        found = findings(read(top="[pool]\nworkers = 0"), proc(), answer=KeyRefusedError(message="invalid api key"))
        assert check.verdict(found) is ExitCode.CONFIG

    def test_offline_says_that_the_key_was_not_tried(self, read: Read, proc: Proc) -> None:
        assert "was not asked" in only(findings(read(), proc())).what

    def test_without_a_key_nobody_is_asked(self, read: Read, proc: Proc) -> None:
        found = findings(read(REMBG_WATCH_API__KEY=""), proc(), answer=KeyRefusedError(message="x"))
        assert only(found).kind is FindingKind.KEY

    @pytest.mark.parametrize(
        ("top", "spendable", "expected"),
        [
            ("[credits]\nper_image = 2", 9, "enough for 4 pictures"),
            ("[credits]\nreserve = 7", 9, "enough for 2 pictures"),
            ("[credits]\nreserve = 9", 9, "9 are kept in reserve: not enough for one picture"),
            ("[credits]\nreserve = 100", 9, "not enough for one picture"),
            ("", 0, "0 credits can be spent: not enough for one picture"),
            ("[credits]\nper_image = 0", 0, "0 credits can be spent"),
        ],
    )
    def test_credits_are_told_as_pictures(
        self, read: Read, proc: Proc, top: str, spendable: int, expected: str
    ) -> None:
        told = only(findings(read(top=top), proc(), answer=account(spendable)))
        assert told.what.endswith(expected)
        assert told.severity is (Severity.WARNING if "not enough" in expected else Severity.NOTE)

    @pytest.mark.parametrize("start", [NOW - timedelta(days=400), NOW + timedelta(days=2)], ids=["ahead", "behind"])
    def test_a_clock_outside_the_current_billing_period_is_told(self, read: Read, proc: Proc, start: datetime) -> None:
        told = only(bad(findings(read(), proc(), answer=account(start=start))))
        assert "by this machine's clock it is 2026-11-22 12:00 UTC" in told.what

    def test_a_clock_that_is_a_little_off_is_no_matter(self, read: Read, proc: Proc) -> None:
        assert not bad(findings(read(), proc(), answer=account(start=NOW + timedelta(minutes=5))))

    @pytest.mark.parametrize(
        ("mode", "is_told"),
        [(0o600, False), (0o400, False), (0o640, False), (0o644, True), (0o660, True), (0o601, True)],
    )
    def test_a_key_file_that_others_may_read_is_told(
        self, read: Read, proc: Proc, tmp_path: Path, mode: int, is_told: bool
    ) -> None:
        (tmp_path / "key").write_text(KEY)
        (tmp_path / "key").chmod(mode)
        reading = read(top='[api]\nkey_file = "key"')
        assert not bad(findings(reading, proc(), answer=account())), "the variable's key is used: the file is no matter"
        path = tmp_path / "config.toml"
        reading = config.read(path, environ={"HOME": str(tmp_path)})
        found = bad(findings(reading, proc(), answer=account()))
        assert [f"chmod 600 {tmp_path}/key" == one.todo for one in found] == ([True] if is_told else [])


FOLDER = Folder(name="f", input=PurePath("/in"), output=PurePath("/out"))


class TestFolders:
    def test_a_folder_that_takes_files_is_fine(self, tmp_path: Path) -> None:
        assert tried(tmp_path) == ""
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_is_gone_is_told(self, tmp_path: Path) -> None:
        assert "cannot be opened" in tried(tmp_path / "gone")

    @needs_modes
    def test_a_folder_that_takes_no_files_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "sealed").mkdir(mode=0o500)
        assert "Permission denied" in tried(tmp_path / "sealed")

    def test_a_kernel_folder_that_takes_no_files_is_told(self) -> None:
        assert tried(Path("/proc")) != ""

    def test_an_output_that_looks_writable_and_is_not_is_an_error(self, read: Read, proc: Proc) -> None:
        if not ignores_modes():
            pytest.skip("only to root does /proc look writable")
        reading = read(REMBG_WATCH_FOLDERS__0__OUTPUT="/proc")
        found = findings(reading, proc(), answer=account())
        told = only([one for one in found if one.severity is Severity.ERROR])
        assert "the output folder /proc cannot be used" in told.what
        assert (told.kind, told.where) == (FindingKind.ACCESS, "REMBG_WATCH_FOLDERS__0__OUTPUT")

    def test_counting_does_not_follow_links_in_circles(self, tmp_path: Path) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
        (tmp_path / "a" / "x.jpg").touch()
        os.mkfifo(tmp_path / "a" / "pipe")
        tree = counted(tmp_path, FOLDER)
        assert (tree.directories, tree.files, tree.unreadable, tree.is_whole) == (3, 1, [], True)

    def test_names_that_are_not_utf_8_are_counted_too(self, tmp_path: Path) -> None:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).touch()
        assert counted(tmp_path, FOLDER).files == 1

    @needs_modes
    def test_files_that_must_not_be_read_are_told_once_for_the_folder(
        self, read: Read, proc: Proc, tmp_path: Path
    ) -> None:
        for name in ("x.jpg", "y.jpg"):
            (tmp_path / "in" / name).touch(mode=0)
        told = only(bad(findings(read(), proc(), answer=account())))
        assert told.what.startswith("2 of the files and folders")

    def test_an_originals_folder_on_another_disk_is_worth_a_note(self, read: Read, proc: Proc, tmp_path: Path) -> None:
        other = Path("/dev/shm")
        if other.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is no second disk here")
        found = findings(read(f'after = "move"\ndone = "{other}"'), proc(), answer=account())
        assert "copied there, then removed" in only([one for one in found if one.kind is FindingKind.MACHINE]).what


class TestMounts:
    @pytest.mark.parametrize(
        ("kind", "mode", "severity"),
        [
            ("ext4", "auto", None),
            ("nfs4", "auto", Severity.NOTE),
            ("nfs4", "poll", Severity.NOTE),
            ("cifs", "events", Severity.WARNING),
            ("fuse.sshfs", "auto", Severity.NOTE),
            ("overlay", "auto", Severity.NOTE),
            ("9p", "auto", Severity.NOTE),
        ],
    )
    def test_an_input_that_does_not_tell_of_every_change_is_told(
        self, read: Read, proc: Proc, tmp_path: Path, kind: str, mode: str, severity: Severity | None
    ) -> None:
        root = proc(f"40 22 0:50 / {tmp_path}/in rw - {kind} x rw")
        found = findings(read(top=f'[watch]\nmode = "{mode}"'), root, answer=account())
        told = [one.severity for one in found if one.kind is FindingKind.MACHINE]
        assert told == ([severity] if severity else [])

    @pytest.mark.parametrize(
        "kind", ["aufs", "autofs", "beegfs", "davfs", "drvfs", "ncpfs", "overlayfs", "smb2", "sshfs", "pvfs2"]
    )
    def test_it_is_told_of_every_kind_that_the_daemon_polls(
        self, read: Read, proc: Proc, tmp_path: Path, kind: str
    ) -> None:
        root = proc(f"40 22 0:50 / {tmp_path}/in rw - {kind} x rw")
        told = only([one for one in findings(read(), root, answer=account()) if one.kind is FindingKind.MACHINE])
        assert f"is on {kind}, which does not report every change" in told.what

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("nfs", "not safe"),
            ("davfs", "not safe"),
            ("smb2", "not safe"),
            ("tmpfs", "forgotten at the next restart"),
            ("fuse.x", "not safe"),
            ("overlay", None),
            ("aufs", None),
            ("fusectl", None),
            ("xfs", None),
        ],
    )
    def test_a_ledger_on_a_share_or_in_memory_is_told(
        self, read: Read, proc: Proc, tmp_path: Path, kind: str, expected: str | None
    ) -> None:
        found = bad(findings(read(), proc(f"40 22 0:50 / {tmp_path}/state rw - {kind} x rw"), answer=account()))
        assert [one.where.split()[-1] for one in found if expected and expected in one.what] == (
            ["state_dir"] if expected else []
        )
        assert len(found) == bool(expected)


class TestMachine:
    def test_too_few_watches_of_the_kernel_are_told_with_the_command(
        self, read: Read, proc: Proc, tmp_path: Path
    ) -> None:
        for number in range(20):
            (tmp_path / "in" / f"{number}").mkdir()
        told = only(bad(findings(read(), proc(watches=20), answer=account())))
        assert "at most 20 directories" in told.what
        assert "sysctl fs.inotify.max_user_watches=8192" in told.todo
        assert not bad(findings(read(top='[watch]\nmode = "poll"'), proc(watches=20), answer=account()))

    def test_a_sandbox_that_hides_the_limit_is_no_matter(self, read: Read, proc: Proc) -> None:
        root = proc()
        (root / "sys/fs/inotify/max_user_watches").unlink()
        assert not bad(findings(read(), root, answer=account()))

    def test_too_few_open_files_for_the_workers_are_told(self, read: Read, proc: Proc) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            found = bad(findings(read(top="[pool]\nworkers = 200"), proc(), answer=account()))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert "256 files open, and 200 workers" in only(found).what

    def test_a_disk_below_its_reserve_is_told_once(self, read: Read, proc: Proc) -> None:
        found = findings(read(top="[output]\nfree_space_reserve_mb = 1000000000"), proc(), answer=account())
        assert "less than the reserve" in only(bad(found)).what

    def test_a_clock_before_this_program_was_written_is_told(self, read: Read, proc: Proc) -> None:
        found = check.findings(read(), ask=None, now=datetime(1970, 1, 2, tzinfo=UTC), proc=proc(), service={})
        assert "by this machine's clock it is 1970-01-02" in only(bad(found)).what


class TestUnit:
    @pytest.fixture
    def service(self, tmp_path: Path) -> dict[str, str]:
        """The properties of a sandboxed unit, as ``systemctl show`` prints them."""
        command = f"/opt/rembg-watch run --config {tmp_path}/config.toml"
        return {
            "LoadState": "loaded",
            "ExecStart": f"{{ path=/opt/rembg-watch ; argv[]={command} ; ignore_errors=no }}",
            "User": "",
            "DynamicUser": "no",
            "ProtectSystem": "strict",
            "ProtectHome": "yes",
            "PrivateTmp": "no",
            "StateDirectory": "rembg-watch",
            "ReadWritePaths": f"-{tmp_path}/out {tmp_path}/state",
            "LoadCredential": f"api_key:{tmp_path}/key",
            "Version": "252",
        }

    @pytest.fixture(autouse=True)
    def key(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text(f"{KEY}\n")

    def reported(self, reading: Reading, proc: Path, service: dict[str, str]) -> list[Finding]:
        return bad(findings(reading, proc, answer=account(), service=service))

    def test_a_unit_that_fits_gives_no_finding(self, read: Read, proc: Proc, service: dict[str, str]) -> None:
        assert self.reported(read(), proc(), service) == []

    def test_a_unit_for_another_file_is_left_alone(self, read: Read, proc: Proc, service: dict[str, str]) -> None:
        service |= {"ExecStart": "{ argv[]=/opt/x run --config /etc/other.toml ; }", "ReadWritePaths": ""}
        found = findings(read(), proc(), answer=account(), service=service)
        assert bad(found) == []
        assert "--config /etc/other.toml" in found[-1].todo

    def test_an_output_outside_the_sandbox_is_told(
        self, read: Read, proc: Proc, service: dict[str, str], tmp_path: Path
    ) -> None:
        service["ReadWritePaths"] = f"{tmp_path}/state"
        told = only(self.reported(read(), proc(), service))
        assert f"cannot write the output folder {tmp_path}/out" in told.what
        assert told.kind is FindingKind.ACCESS

    def test_originals_that_are_removed_must_be_writable_too(
        self, read: Read, proc: Proc, service: dict[str, str]
    ) -> None:
        told = only(self.reported(read('after = "delete"'), proc(), service))
        assert "cannot write the input folder" in told.what

    def test_a_key_that_only_the_unit_has_is_no_missing_key(
        self, read: Read, proc: Proc, service: dict[str, str], tmp_path: Path
    ) -> None:
        read()
        reading = config.read(tmp_path / "config.toml", environ={"HOME": str(tmp_path)})
        assert [found.kind for found in reading.errors()] == [FindingKind.KEY]
        asked = []

        def ask(settings: config.Settings) -> Account:
            assert settings.api.key is not None
            asked.append(settings.api.key.get_secret_value())
            return account()

        found = check.findings(reading, ask=ask, now=NOW, proc=proc(), service=service)
        assert (bad(found), asked) == ([], [KEY])

    def test_an_encrypted_key_is_no_missing_key_either(
        self, read: Read, proc: Proc, service: dict[str, str], tmp_path: Path
    ) -> None:
        read()
        reading = config.read(tmp_path / "config.toml", environ={"HOME": str(tmp_path)})
        service |= {"LoadCredential": "", "LoadCredentialEncrypted": "api_key:/etc/rembg-watch/api_key.cred"}
        assert self.reported(reading, proc(), service) == []

    def test_a_credential_whose_file_is_missing_is_an_error(
        self, read: Read, proc: Proc, service: dict[str, str], tmp_path: Path
    ) -> None:
        (tmp_path / "key").unlink()
        told = only(self.reported(read(), proc(), service))
        assert "does not exist: the service will not start" in told.what

    def test_a_unit_that_gives_no_key_is_told(self, read: Read, proc: Proc, service: dict[str, str]) -> None:
        service["LoadCredential"] = ""
        assert "the service is given no key" in only(self.reported(read(), proc(), service)).what

    def test_a_systemd_without_credentials_is_told(self, read: Read, proc: Proc, service: dict[str, str]) -> None:
        assert "does not support credentials" in only(self.reported(read(), proc(), service | {"Version": "245"})).what

    def test_a_user_that_nobody_knows_is_an_error(self, read: Read, proc: Proc, service: dict[str, str]) -> None:
        found = self.reported(read(), proc(), service | {"User": "somebody-else"})
        assert "a user that this machine does not have" in only(found).what

    @pytest.mark.skipif(os.geteuid() != 0, reason="another user's folders need root")
    @pytest.mark.parametrize(
        ("mode", "owner", "group", "is_writable"),
        [
            (0o755, 0, 0, False),
            (0o757, 0, 0, True),
            (0o775, 0, 65534, True),
            (0o755, 65534, 0, True),
            (0o577, 65534, 0, False),
        ],
    )
    def test_folders_that_the_services_user_cannot_write_are_told_by_their_modes(
        self,
        read: Read,
        proc: Proc,
        service: dict[str, str],
        tmp_path: Path,
        mode: int,
        owner: int,
        group: int,
        is_writable: bool,
    ) -> None:
        reading = read()
        os.chown(tmp_path / "out", owner, group)
        (tmp_path / "out").chmod(mode)
        found = findings(reading, proc(), answer=account(), service=service | {"User": "nobody"})
        assert bool(bad(found)) is not is_writable
        assert any("nobody" in one.what for one in found)

    def test_a_ledger_that_others_look_for_elsewhere_is_told(
        self, read: Read, proc: Proc, service: dict[str, str], tmp_path: Path
    ) -> None:
        read()
        path = tmp_path / "config.toml"
        path.write_text(path.read_text().replace('state_dir = "state"', ""))
        reading = config.read(path, environ={"HOME": str(tmp_path), "REMBG_WATCH_API__KEY": KEY})
        told = only(self.reported(reading, proc(), service))
        assert (told.severity, told.todo) == (Severity.WARNING, 'set state_dir = "/var/lib/rembg-watch"')

    @pytest.mark.parametrize(
        ("path", "unit"),
        [
            (None, "rembg-watch.service"),
            ("/etc/rembg-watch/config.toml", "rembg-watch.service"),
            ("/etc/rembg-watch/studio-b.toml", "rembg-watch@studio-b.service"),
            ("/home/me/studio-b.toml", "rembg-watch.service"),
        ],
    )
    def test_each_configuration_has_its_unit(self, path: str | None, unit: str) -> None:
        assert unit_for(path and Path(path)) == unit

    @pytest.mark.parametrize(
        ("properties", "path", "is_visible", "is_writable"),
        [
            pytest.param({}, "/srv/out", True, True, id="no sandbox"),
            pytest.param({"ProtectSystem": "yes"}, "/usr/local/out", True, False, id="system folders"),
            pytest.param({"ProtectSystem": "yes"}, "/etc/out", True, True, id="/etc is left by yes"),
            pytest.param({"ProtectSystem": "full"}, "/etc/out", True, False, id="/etc is taken by full"),
            pytest.param({"ProtectSystem": "strict"}, "/srv/out", True, False, id="everything is taken by strict"),
            pytest.param(
                {"ProtectSystem": "strict", "ReadWritePaths": "/srv"}, "/srv/out", True, True, id="given back"
            ),
            pytest.param(
                {"ProtectSystem": "strict", "ReadWritePaths": "-/srv"}, "/srv/out", True, True, id="with a dash"
            ),
            pytest.param(
                {"ProtectSystem": "strict", "ReadWritePaths": "/srv/o"}, "/srv/out", True, False, id="another"
            ),
            pytest.param(
                {"ProtectSystem": "strict", "ReadWritePaths": '"/srv/my out"'},
                "/srv/my out/x",
                True,
                True,
                id="a space",
            ),
            pytest.param(
                {"ProtectSystem": "strict", "ReadWritePaths": "/srv", "ReadOnlyPaths": "/srv/in"},
                "/srv/in/x",
                True,
                False,
                id="taken again",
            ),
            pytest.param({"ProtectHome": "yes"}, "/home/me/out", False, False, id="home is hidden"),
            pytest.param({"ProtectHome": "tmpfs"}, "/root/out", False, False, id="home is empty"),
            pytest.param({"ProtectHome": "read-only"}, "/home/me/out", True, False, id="home is read-only"),
            pytest.param(
                {"ProtectHome": "tmpfs", "BindPaths": "/home/me/out:/home/me/out:rbind"},
                "/home/me/out/x",
                True,
                True,
                id="bound into an empty home",
            ),
            pytest.param(
                {"ProtectHome": "tmpfs", "BindReadOnlyPaths": "/home/me/in:/home/me/in:rbind"},
                "/home/me/in",
                True,
                False,
                id="bound read-only",
            ),
            pytest.param(
                {"ProtectHome": "tmpfs", "BindPaths": "-/home/me/o ut:/home/me/o ut:rbind -/home/x:/home/y"},
                "/home/me/o ut/x",
                True,
                True,
                id="bound, with a space",
            ),
            pytest.param(
                {"ProtectHome": "tmpfs", "BindPaths": "-/home/me/a:b:/home/me/a:b:rbind /srv/x:/home/y"},
                "/home/me/a:b",
                True,
                True,
                id="bound, with a colon",
            ),
            pytest.param(
                {"ProtectHome": "tmpfs", "BindPaths": "-/home/me/a:/home/me/a:rbind /srv/x:/home/y"},
                "/home/y/z",
                True,
                True,
                id="bound to another place",
            ),
            pytest.param(
                {"ProtectSystem": "strict", "ReadWritePaths": '-/srv/a "/srv/quo\\"te" "-/srv/back\\\\slash"'},
                "/srv/back\\slash/x",
                True,
                True,
                id="quotes and backslashes",
            ),
            pytest.param({"PrivateTmp": "yes"}, "/tmp/out", False, False, id="a /tmp of its own"),
            pytest.param({"InaccessiblePaths": "/srv/x"}, "/srv/x/out", False, False, id="not to be entered"),
            pytest.param(
                {"ProtectSystem": "strict", "StateDirectory": "rembg-watch"},
                "/var/lib/rembg-watch/s",
                True,
                True,
                id="state",
            ),
        ],
    )
    def test_the_sandbox_is_read_from_the_units_properties(
        self, properties: dict[str, str], path: str, is_visible: bool, is_writable: bool
    ) -> None:
        protection = Protection(properties)
        assert (protection.is_visible(Path(path)), protection.is_writable(Path(path))) == (is_visible, is_writable)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", None),
            ("other:/x", None),
            ("other:/x api_key:/etc/k", Path("/etc/k")),
            ("api_key:relative", None),
            ('"api_key:/etc/my key"', Path("/etc/my key")),
        ],
    )
    def test_the_credentials_file_is_found(self, text: str, expected: Path | None) -> None:
        assert credential_path({"LoadCredential": text}) == expected

    def test_credentials_are_read_from_unit_and_drop_ins_without_their_contents(self) -> None:
        text = (
            "# /etc/systemd/system/rembg-watch.service\n[Service]\n"
            "LoadCredential=api_key:/etc/old\nLoadCredential=\n"
            " LoadCredential = api_key:/etc/my key\n#LoadCredential=api_key:/no\n"
            f"SetCredential=api_key:{KEY}\n"
        )
        found = assignments(text)
        assert credential_path(found) == Path("/etc/my key")
        assert KEY not in str(found)

    def test_asking_for_a_unit_that_nobody_knows_tells_nothing(self) -> None:
        assert properties("rembg-watch-that-is-not-there.service") == {}


def test_check_reads_the_account_and_calls_nothing_that_costs(read: Read, proc: Proc) -> None:
    httpx = pytest.importorskip("httpx")
    asked = []

    def answer(request: "httpx.Request") -> "httpx.Response":
        asked.append((request.method, request.url.path, request.headers["x-api-key"]))
        return httpx.Response(200, json={"membership": "Premium", "credits": 5, "prepaidCredits": 0})

    ask = check.over_network(transport=httpx.MockTransport(answer))
    found = check.findings(read(), ask=ask, now=NOW, proc=proc(), service={})
    assert asked == [("GET", "/api/membership-usage", KEY)]
    assert "5 credits can be spent" in only(found).what

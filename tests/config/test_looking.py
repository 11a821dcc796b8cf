"""``status`` and its kin look at no folder: one on a share that hangs would keep them."""

from pathlib import Path

import pytest

from rembg_watch import state_dirs
from rembg_watch.config import FOR_LOOKING, FOR_RUN, rules


def test_whoever_only_looks_touches_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        f'state_dir = "{tmp_path}/state"\n[[folders]]\nname = "f"\ninput = "{tmp_path}/in"\noutput = "{tmp_path}/out"\n'
    )
    touched: list[str] = []

    def touch(name: str) -> object:
        def noted(*_: object) -> object:
            touched.append(name)
            return iter(())

        return noted

    for name in ("_overlaps", "_state_dir", "_inputs", "_targets"):
        monkeypatch.setattr(rules, name, touch(name))
    environ = {"HOME": str(tmp_path), "REMBG_WATCH_API__KEY": "k" * 20}
    assert state_dirs.load(path, environ=environ, tolerate=FOR_LOOKING).folders[0].name == "f"
    assert touched == []
    state_dirs.load(path, environ=environ, tolerate=FOR_RUN)
    assert len(touched) == 4

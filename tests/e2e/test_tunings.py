from pathlib import Path

from benchmarks.studio import Studio, api, jpegs, status, wait_for


def test_without_any_tuning_the_pictures_come_all_the_same(tmp_path: Path) -> None:
    """A tuning that the list of ``benchmarks.tunings`` names and that is gone ends the daemon here."""
    with api(tmp_path, latency_s=0.05) as url:
        studio = Studio(tmp_path / "studio", url, workers=48).prepare()
        jpegs(studio.input, 60)
        with studio.daemon("-m", "benchmarks.tunings", "--without", "all", "--") as process:
            wait_for(lambda: process.child.poll() is not None or status(studio).get("jobs", {}).get("done") == 60, 60)
            assert process.child.poll() is None, (studio.root / "daemon.log").read_text()
    assert len(list(studio.output.iterdir())) == 60
    assert list((studio.state / "spool").iterdir()) == []

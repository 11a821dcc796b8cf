from pathlib import Path

import pytest

from rembg_watch.delivery.answer_file import AnswerFile


def test_an_answer_file_without_any_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AnswerFile([tmp_path / "missing", tmp_path / "gone"], ".webp")


def test_an_answer_file_takes_the_next_place_where_the_first_takes_no_file(tmp_path: Path) -> None:
    with AnswerFile([tmp_path / "missing", tmp_path], ".webp") as answer:
        answer.write(b"one")
        assert answer.finish().parent == tmp_path
    assert answer.path.read_bytes() == b"one"
    answer.drop()
    assert list(tmp_path.iterdir()) == []

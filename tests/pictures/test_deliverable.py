"""What is asked for, and the name of how it is made: files that stand must not come to be lacking by an upgrade."""

import pytest

from rembg_watch.pictures.deliverable import Deliverable, FileFormat, Upsample

SHOP = Deliverable(name="shop", format=FileFormat.JPEG, background="#ffffff", canvas=(2000, 2000), fill=0.85)


def test_files_that_stand_are_made_as_earlier_versions_made_them() -> None:
    """These names stand in ledgers."""
    assert Deliverable(name="x").digest == "8d29b3628f561095"
    assert SHOP.digest == "6d11ded09a0ba17a"


@pytest.mark.parametrize("change", [{"upsample": Upsample.GUIDED}, {"quality": 91}, {"fill": 0.8}])
def test_another_way_of_making_has_another_name(change: dict[str, object]) -> None:
    other = Deliverable.from_json({**SHOP.as_json(), **change})
    assert other.digest != SHOP.digest
    assert Deliverable.from_json(other.as_json()) == other


def test_where_it_goes_and_what_it_is_called_is_no_way_of_making() -> None:
    assert Deliverable(name="other", path="{stem}.{ext}").digest == Deliverable(name="x").digest

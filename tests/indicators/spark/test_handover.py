"""What goes to the workers and comes back, where they do not see `data_dir`."""

import pytest

from pipeline.errors import SparkJobError
from pipeline.indicators.spark.handover import exchanged


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "work" / "indicators" / "2024-02-16"
    (folder / "input").mkdir(parents=True)
    (folder / "input" / "bucket-0000.parquet").write_bytes(b"bars")
    return folder


def test_without_the_setting_workers_see_the_folder_itself(folder, settings):
    settings("spark_runtime", exchange="")
    with exchanged(folder) as place:
        assert place == str(folder)


@pytest.mark.parametrize("form", [str, lambda path: path.as_uri(), lambda path: f"{path.as_uri()}/"])
def test_bars_go_and_values_come(folder, settings, tmp_path, form):
    shared = tmp_path / "shared"
    settings("spark_runtime", exchange=form(shared))
    left = shared / "indicators-2024-02-16" / "input" / "bucket-0001.parquet"  # by a run that was killed
    left.parent.mkdir(parents=True)
    left.write_bytes(b"old")
    with exchanged(folder) as place:
        assert place == f"{form(shared).rstrip('/')}/indicators-2024-02-16"
        seen = shared / "indicators-2024-02-16"
        assert {path.name: path.read_bytes() for path in (seen / "input").iterdir()} == {"bucket-0000.parquet": b"bars"}
        (seen / "output").mkdir()
        (seen / "output" / "part-0000.parquet").write_bytes(b"values")
    assert {path.name: path.read_bytes() for path in (folder / "output").iterdir()} == {"part-0000.parquet": b"values"}
    assert list(shared.iterdir()) == []


@pytest.mark.parametrize("place", ["nowhere://bucket/folder", "/proc/no/such/place"])
def test_a_place_that_cannot_be_used_is_named(folder, settings, place):
    settings("spark_runtime", exchange=place)
    with (
        pytest.raises(
            SparkJobError, match=rf"\[spark_runtime\] exchange: {place}/indicators-2024-02-16 cannot be used"
        ),
        exchanged(folder),
    ):
        pass

"""A file of an export that is over takes nothing any more, wherever its descriptor leads by then."""

import os
from pathlib import Path

import pytest

from export_task.places import FolderPlace


def test_a_dropped_file_takes_nothing_though_its_descriptor_is_another_files(tmp_path: Path) -> None:
    sink = FolderPlace({"root": str(tmp_path), "path": "export"}).begin("", 0)
    number = sink._file
    sink.write(b"bars")
    sink.drop()
    other = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    os.dup2(other, number)
    try:
        with pytest.raises(ValueError, match="kept or dropped"):
            sink.write(b"PAR1")
    finally:
        os.close(other)
        if number != other:
            os.close(number)
    assert (tmp_path / "other").read_bytes() == b""
    assert list((tmp_path / "export").iterdir()) == []

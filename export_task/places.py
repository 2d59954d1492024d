"""Where files are written: a folder of this machine, or a bucket of S3. What is not whole has no final name."""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

_PIECE = 1 << 20


class PlaceError(Exception):
    """Nothing can be written there: a code for callers, and a sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Sink(Protocol):
    """A file that is being written. It has its final name with `keep`, and never before."""

    size: int

    @property
    def sha256(self) -> str: ...

    def write(self, data: Any, /) -> int: ...

    def keep(self, name: str) -> None: ...

    def drop(self) -> None: ...


class Place(Protocol):
    """Where the files of one export lie. Paths have slashes and are relative."""

    def begin(self, folder: str, number: int) -> Sink: ...

    def names(self, folder: str) -> list[str]:
        """The names of the files of a folder; of S3 none, as the task may not list."""

    def size(self, path: str) -> int | None:
        """How long a file is; None: it is not there, or nobody may look."""

    def remove(self, path: str) -> None: ...

    def remove_all(self, paths: list[str]) -> None: ...


class Hashed:
    """What files of every kind have: size and hash of what was written, as much as pyarrow wants of a file object."""

    closed = False

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def _count(self, data: memoryview) -> None:
        self.size += data.nbytes
        self._hash.update(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """The writer is done with it; `keep` or `drop` decides what becomes of it."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


# ---- a folder --------------------------------------------------------------------------------------------------------


class FolderPlace:
    """A folder below an allowed root. Every folder on the way is opened by its name alone and no link is followed, so that
    nobody can lead a file elsewhere, whenever they try."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        self._root = str(target["root"])
        self._path = str(target["path"])

    @contextmanager
    def _folder(self, folder: str, *, make: bool) -> Iterator[int]:
        """A descriptor of a folder of the export."""
        try:
            at = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as wrong:
            raise PlaceError(
                code="target-unusable", detail=f"{self._root} cannot be opened: {wrong.strerror}"
            ) from None
        try:
            for name in [part for part in f"{self._path}/{folder}".split("/") if part]:
                if name in (".", ".."):
                    raise PlaceError(code="target-unusable", detail=f"{name} is no name of a folder")
                inner = _open_folder(at, name, make=make)
                os.close(at)
                at = inner
            yield at
        finally:
            os.close(at)

    def begin(self, folder: str, number: int) -> "FolderSink":
        with self._folder(folder, make=True) as at:
            return FolderSink(os.dup(at), f".{number}.part")

    def names(self, folder: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError), self._folder(folder, make=False) as at:
            return sorted(name for name in os.listdir(at) if not name.endswith(".part"))
        return []

    def size(self, path: str) -> int | None:
        folder, _, name = path.rpartition("/")
        with contextlib.suppress(OSError), self._folder(folder, make=False) as at:
            about = os.stat(name, dir_fd=at, follow_symlinks=False)
            return about.st_size if stat.S_ISREG(about.st_mode) else None
        return None

    def remove(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        with contextlib.suppress(FileNotFoundError), self._folder(folder, make=False) as at:
            os.unlink(name, dir_fd=at)

    def remove_all(self, paths: list[str]) -> None:
        """Remove the files, what is left of others, and the folders that are empty then."""
        for path in paths:
            self.remove(path)
        folders = {""} | {path[:at] for path in paths for at, letter in enumerate(path) if letter == "/"}
        for folder in sorted(folders, key=len, reverse=True):
            self._remove_folder(folder)

    def _remove_folder(self, folder: str) -> None:
        whole = [part for part in f"{self._path}/{folder}".split("/") if part]
        place = FolderPlace({"root": self._root, "path": ""})
        with contextlib.suppress(OSError):
            with place._folder("/".join(whole), make=False) as at:
                for name in os.listdir(at):
                    if name.endswith(".part"):
                        os.unlink(name, dir_fd=at)
            with place._folder("/".join(whole[:-1]), make=False) as at:
                os.rmdir(whole[-1], dir_fd=at)


def _open_folder(at: int, name: str, *, make: bool) -> int:
    how = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(name, how, dir_fd=at)
    except FileNotFoundError:
        if not make:
            raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=at)
        return os.open(name, how, dir_fd=at)
    except OSError as wrong:
        if wrong.errno in (errno.ELOOP, errno.ENOTDIR):
            raise PlaceError(code="target-unusable", detail=f"{name} is a link or a file, not a folder") from None
        raise PlaceError(code="target-unusable", detail=f"{name} cannot be opened: {wrong.strerror}") from None


class FolderSink(Hashed):
    """A file of a folder, `.<n>.part` while it is written."""

    def __init__(self, folder: int, name: str) -> None:
        super().__init__()
        self._folder = folder
        self._name = name
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)  # of a task that died
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self._file = os.open(name, how, 0o644, dir_fd=folder)

    def write(self, data: Any) -> int:
        """Write all of it. ValueError once the file is kept or dropped: its descriptor may be another file's by then."""
        if self.closed:
            raise ValueError("the file was kept or dropped")
        view = memoryview(data).cast("B")
        done = 0
        while done < view.nbytes:
            done += os.write(self._file, view[done:])
        self._count(view)
        return done

    def keep(self, name: str) -> None:
        """Safe on the disk, then under its final name."""
        os.fsync(self._file)
        os.rename(self._name, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        os.fsync(self._folder)
        self._end()

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._name, dir_fd=self._folder)
        self._end()

    def _end(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._file)
            os.close(self._folder)

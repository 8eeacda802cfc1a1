"""The folder of a report: what may be replaced, and how it is replaced whole or not at all.

Nothing that a report did not write is ever deleted: an entry of any kind that its manifest does not list (a hidden
file, a link, an empty folder) makes it refuse. Everything is made in a temporary folder beside the place asked for;
then folders are renamed. Whatever goes wrong on the way, an interrupt included, the temporary folder goes and an old
report stays as it was.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from workbench.errors import ReportError
from workbench.report.manifest import NAME, listed_files


def check_folder(folder: str | Path) -> None:
    """Refuse a folder that a report could not be put in; what is there stays as it is.

    Whether something can be made is found out by making an empty folder and removing it, since permissions do not
    tell it on every file system.

    Raises
    ------
    ReportError
        Something else lies there, or nothing can be made there.
    """
    given = Path(folder)
    with _in_words(given):
        place = _resolved(given)
        _refuse_foreign(place, given)
        above = place.parent
        while not above.exists() and above != above.parent:
            above = above.parent
        if not above.is_dir():
            raise ReportError(f"The report cannot go to {given}: {above} is a file, not a folder. Name another place.")
        Path(tempfile.mkdtemp(prefix=".workbench.", dir=above)).rmdir()


def put_folder(folder: str | Path, fill: Callable[[Path], None]) -> Path:
    """Put a folder made by `fill` where one is asked for, in place of an older report; returns it as given.

    Raises
    ------
    ReportError
        As `check_folder`, or the disk did not take it.
    """
    given = Path(folder)
    with _in_words(given):
        place = _resolved(given)
        _refuse_foreign(place, given)
        _replace(place, fill)
    return given


@contextmanager
def _in_words(given: Path) -> Iterator[None]:
    """Turn what the file system says into a sentence."""
    try:
        yield
    except OSError as error:
        raise ReportError(
            f"The report cannot be written to {given} ({error.strerror or error}). Name another place."
        ) from error


def _resolved(given: Path) -> Path:
    try:
        place = given.resolve()
    except (RuntimeError, ValueError) as error:  # a null character; before Python 3.13 links in a circle as well
        raise ReportError(f"{str(given)!r} is no place for a report ({error}). Name another place.") from None
    if any(part.is_symlink() for part in (place, *place.parents)):
        raise ReportError(f"{given} is a link that leads in a circle. Name another place.")
    return place


def _refuse_foreign(place: Path, given: Path) -> None:
    """Refuse to replace what is not a report of ours, or has something else in it."""
    if not place.exists():
        return
    if not place.is_dir():
        raise ReportError(f"{given} is a file, but a report is a folder. Name another place.")
    if place.is_mount():
        raise ReportError(f"{given} is a mount point, which cannot be replaced. Name a folder inside it.")
    if not any(place.iterdir()):
        return
    listed = listed_files(place / NAME)
    if listed is None:
        raise ReportError(
            f"{given} is not empty and is no report (it has no {NAME} of ours). Name another folder, or empty it."
        )
    if strange := next(_strange(place, frozenset(listed)), None):
        raise ReportError(
            f"{given} holds what is not the report's, such as {strange}; replacing it would delete that. Move it away."
        )


def _strange(place: Path, listed: frozenset[str]) -> Iterator[str]:
    """Every entry, of whatever kind, that is neither a listed file nor a folder on the way to one."""
    folders = {above.as_posix() for name in listed for above in PurePosixPath(name).parents}
    for above, inside, others in place.walk(on_error=_fail, follow_symlinks=False):
        for known, names in ((folders, inside), (listed, others)):
            for name in sorted(names):
                path = above / name
                shown = path.relative_to(place).as_posix()
                if shown not in known or path.is_symlink():
                    yield shown


def _fail(error: OSError) -> None:
    raise error


def _replace(place: Path, fill: Callable[[Path], None]) -> None:
    """Put a folder made by `fill` in place of another one, whole or not at all."""
    made: list[Path] = []
    temporary = None
    try:
        _make_parents(place.parent, made)
        temporary = Path(tempfile.mkdtemp(prefix=f".{place.name[:32]}.", suffix=".partial", dir=place.parent))
        inside = temporary / "new"
        inside.mkdir()
        fill(inside)
        old = temporary / "old"
        if place.exists():
            place.rename(old)
        try:
            inside.rename(place)
        except BaseException:
            if old.exists():
                old.rename(place)
            raise
    except BaseException:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # one that holds something by now stays
            for parent in reversed(made):
                parent.rmdir()
        raise
    shutil.rmtree(temporary, ignore_errors=True)


def _make_parents(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it, and note those that were not there, outermost first."""
    missing = []
    while not folder.exists() and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    for parent in reversed(missing):
        try:
            parent.mkdir()
        except FileExistsError:  # someone else made it meanwhile
            continue
        made.append(parent)

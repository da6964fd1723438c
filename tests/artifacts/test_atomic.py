import errno
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from endoscope.artifacts import atomic_file, atomic_folder, check_free
from endoscope.errors import InputError


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def fill(folder, kind, **files):
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(f'{{"kind": "{kind}"}}')
    for name, text in files.items():
        (folder / name).write_text(text)


def test_file_appears_whole_at_the_end(tmp_path):
    path = tmp_path / "new" / "folders" / "file"
    with atomic_file(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    assert path.read_text() == "one"
    with atomic_file(path) as temporary:
        temporary.write_text("two")
        assert path.read_text() == "one"
    assert path.read_text() == "two"
    assert everything(path.parent) == ["file"]


def secretive(path):
    """Write as safetensors does: a file of its own making, for its owner only."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)


def test_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "plain").touch()
    with atomic_file(tmp_path / "atomic") as temporary:
        secretive(temporary)
    with atomic_folder(tmp_path / "folder") as temporary:
        secretive(temporary / "inside")
    for path in (tmp_path / "atomic", tmp_path / "folder/inside"):
        assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_link_is_followed(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with atomic_file(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_what_was_there(tmp_path, error):
    (tmp_path / "file").write_text("old")
    fill(tmp_path / "folder", "probe", tensors="old")
    before = everything(tmp_path)

    def fail(temporary):
        temporary.write_text("half")
        raise error

    with pytest.raises(error), atomic_file(tmp_path / "file") as temporary:
        fail(temporary)
    with pytest.raises(error), atomic_folder(tmp_path / "folder", kind="probe") as temporary:
        fail(temporary / "tensors")
    with pytest.raises(error), atomic_folder(tmp_path / "other"):
        raise error
    assert everything(tmp_path) == before
    assert (tmp_path / "file").read_text() == (tmp_path / "folder/tensors").read_text() == "old"


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_old_folder_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch, error):
    fill(tmp_path / "folder", "probe", tensors="old")
    before, rename = everything(tmp_path), Path.rename
    calls = []

    def second_fails(self, to):
        calls.append(to)
        if len(calls) == 2:
            raise error
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(type(error)), atomic_folder(tmp_path / "folder", kind="probe") as temporary:
        (temporary / "tensors").write_text("new")
    assert everything(tmp_path) == before
    assert (tmp_path / "folder" / "tensors").read_text() == "old"


def test_same_kind_is_replaced_and_other_files_are_kept(tmp_path):
    fill(tmp_path / "folder", "probe", tensors="old", README="mine")
    with atomic_folder(tmp_path / "folder", kind="probe") as temporary:
        (temporary / "tensors").write_text("new")
        (temporary / "card.json").write_text('{"kind": "probe"}')
    assert everything(tmp_path / "folder") == ["README", "card.json", "tensors"]
    assert (tmp_path / "folder" / "tensors").read_text() == "new"
    assert (tmp_path / "folder" / "README").read_text() == "mine"
    assert everything(tmp_path) == [
        "folder",
        *(f"folder/{n}" for n in everything(tmp_path / "folder")),
    ]


@pytest.mark.parametrize("card", ['{"kind": "direction"}', "{", "[]", '{"kind": 1}', None])
def test_anything_else_is_not_replaced(tmp_path, card):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious").write_text("mine")
    if card is not None:
        (tmp_path / "folder" / "card.json").write_text(card)
    before = everything(tmp_path)
    with pytest.raises(InputError, match="is not a probe"):
        check_free(tmp_path / "folder", "probe")
    with (
        pytest.raises(InputError, match="is not a probe"),
        atomic_folder(tmp_path / "folder", kind="probe"),
    ):
        pytest.fail("nothing may be written")
    with pytest.raises(InputError, match="exists already"), atomic_folder(tmp_path / "folder"):
        pytest.fail("nothing may be written")
    assert everything(tmp_path) == before


def test_empty_folder_is_taken(tmp_path):
    (tmp_path / "folder").mkdir()
    with atomic_folder(tmp_path / "folder", kind="probe") as temporary:
        (temporary / "x").touch()
    assert everything(tmp_path) == ["folder", "folder/x"]


def test_wrong_places_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="not a file"), atomic_file(tmp_path):
        pass
    with pytest.raises(InputError, match="not a file"), atomic_file("/dev/null"):
        pass
    with pytest.raises(InputError, match="not a folder"), atomic_folder(tmp_path / "file"):
        pass
    for path in (tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="cannot be written"), atomic_file(path):
            pass
    assert everything(tmp_path) == ["file"]


def test_size_is_checked_beforehand(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1_500_000))
    for context in (atomic_file, atomic_folder):
        with (
            pytest.raises(InputError, match=r"disk is full.* needs 2\.0 MB, 1\.5 MB are free"),
            context(tmp_path / "big", size=2_000_000),
        ):
            pytest.fail("nothing may be written")
    assert everything(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_disk_may_fill_up_as_late_as_fsync(tmp_path, monkeypatch, number):
    def full(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="disk is full"), atomic_file(tmp_path / "a") as temporary:
        temporary.write_text("x")
    with (
        pytest.raises(InputError, match="disk is full"),
        atomic_folder(tmp_path / "b") as temporary,
    ):
        (temporary / "x").write_text("x")
    assert everything(tmp_path) == []


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(OSError, match="broken"), atomic_file(tmp_path / "a"):
        raise OSError(errno.EIO, "broken")


ON_A_FULL_DISK = """
import subprocess, sys
from pathlib import Path
disk = Path(sys.argv[1])
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk]).returncode:
    sys.exit(77)
import torch
from safetensors.torch import save_file
from endoscope.artifacts import atomic_file, atomic_folder
from endoscope.errors import InputError
(disk / "old").write_text("old")

def write_text(temporary):
    with temporary.open("wb") as file:
        for _ in range(300):
            file.write(b"x" * 1024)

def write_tensors(temporary):
    save_file({"x": torch.zeros(300, 256)}, temporary)

for write in (write_text, write_tensors):
    for name in ("old", "new"):
        try:
            with atomic_file(disk / name) as temporary:
                write(temporary)
        except InputError as error:
            assert "disk is full" in str(error), error
        else:
            sys.exit("it fitted")
    try:
        with atomic_folder(disk / "folder") as temporary:
            write(temporary / "x")
    except InputError as error:
        assert "disk is full" in str(error), error
    else:
        sys.exit("it fitted")
assert [path.name for path in disk.iterdir()] == ["old"]
assert (disk / "old").read_text() == "old"
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs Linux namespaces")
def test_a_disk_that_really_is_full(tmp_path):
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", sys.executable, "-c", ON_A_FULL_DISK, tmp_path],
        capture_output=True,
        text=True,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("no disk may be mounted here")
    assert done.returncode == 0, done.stderr

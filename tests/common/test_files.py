import os

import pytest

from lightning_croloss.common.files import replacing, replacing_folder, write_atomically


def test_a_file_appears_whole_and_alone(tmp_path):
    path = tmp_path / "new folder" / "result.json"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def test_the_temporary_file_is_of_the_same_kind_and_folder(tmp_path):
    path = tmp_path / "plot.png"
    with replacing(path) as temporary:
        assert temporary != path
        assert (temporary.parent, temporary.suffix) == (path.parent, path.suffix)
        temporary.write_bytes(b"drawn")
        assert not path.exists()
    assert path.read_bytes() == b"drawn"


@pytest.mark.parametrize("old", [b"old", None])
def test_a_failure_leaves_all_as_it_was(tmp_path, old):
    path = tmp_path / "result.json"
    if old is not None:
        path.write_bytes(old)

    def write_and_fail():
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_failing_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path, umask):
    path = tmp_path / "result.json"
    write_atomically(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_replaced_file_keeps_its_permissions(tmp_path, umask, mode):
    path = tmp_path / "result.json"
    path.write_bytes(b"old")
    path.chmod(mode)
    with replacing(path) as temporary:
        assert temporary.stat().st_mode & 0o077 == 0
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("folder", [False, True])
def test_all_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch, folder):
    steps = []
    rename = os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: steps.append(os.path.basename(names[descriptor])))
    names = {}
    opened = os.open

    def open_(path, *rest, **options):
        descriptor = opened(path, *rest, **options)
        names[descriptor] = str(path)
        return descriptor

    def replace(first, second):
        steps.append("renamed")
        rename(first, second)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "replace", replace)
    path = tmp_path / "model"
    if folder:
        with replacing_folder(path) as temporary:
            (temporary / "weights").write_bytes(b"new")
        assert steps[0] == "weights"
        assert steps[1].startswith(".model.")
    else:
        write_atomically(path, b"new")
        assert steps[0].startswith(".model.")
    assert steps[-2:] == ["renamed", tmp_path.name]

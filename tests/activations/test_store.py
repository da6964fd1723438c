import errno
import json
import os
import shutil
from collections import namedtuple
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from endoscope.activations import Activations, ActivationStore
from endoscope.artifacts import Fingerprint, TransferWarning
from endoscope.errors import InputError
from endoscope.models import Site

FINGERPRINT = Fingerprint(config="1" * 64, weights="2" * 64)
FOREIGN = Fingerprint(config="1" * 64, weights="3" * 64)
DERIVED = Fingerprint(config="1" * 64, weights="4" * 64, base=FINGERPRINT.digest)
SITES = (Site.parse("mlp_out.0"), Site.parse("resid_post.1"))
D_MODEL = 4


def ids(n):
    return [f"doc {i}" for i in range(n)]


def texts(n):
    return [f"text {i}" for i in range(n)]


def read(lengths, positions=None):
    """Stand in for a model: values depend on the document and the token alone."""
    positions = range(len(lengths)) if positions is None else positions
    rows = [(place, i, token) for place, i in enumerate(positions) for token in range(lengths[i])]
    places, documents, tokens = torch.tensor(rows, dtype=torch.int64).reshape(-1, 3).unbind(1)
    values = (documents * 16 + tokens)[:, None] + torch.tensor([0.0, 0.25, 0.5, 1e30])
    return Activations(
        values={SITES[0]: values.bfloat16(), SITES[1]: -values.bfloat16()},
        token_ids=documents * 1000 + tokens,
        offsets=torch.stack([tokens, tokens + 1], 1),
        documents=places,
        document_ids=[f"doc {i}" for i in positions],
        fingerprint=FINGERPRINT,
    )


def create(path, **options):
    return ActivationStore.create(path, FINGERPRINT, SITES, D_MODEL, **options)


def fill(path, lengths, batch=2, shard_bytes=64, **options):
    """Write what is missing, longest documents first, as capture does."""
    with create(path, resume=True, shard_bytes=shard_bytes, **options) as store:
        missing = store.missing(ids(len(lengths)), texts(len(lengths)))
        missing.sort(key=lambda i: -lengths[i])
        for start in range(0, len(missing), batch):
            positions = missing[start : start + batch]
            store.append(read(lengths, positions), [f"text {i}" for i in positions])
        store.finish(order=ids(len(lengths)))
    return store


def same(one, other):
    return (
        one.document_ids == other.document_ids
        and set(one.sites) == set(other.sites)
        and all(torch.equal(one[site], other[site]) for site in one.sites)
        and torch.equal(one.token_ids, other.token_ids)
        and torch.equal(one.offsets, other.offsets)
        and torch.equal(one.documents, other.documents)
        and one.fingerprint == other.fingerprint
    )


def shards(path):
    return sorted(file.name for file in path.glob("shard-*"))


def manifest(path):
    return json.loads((path / "manifest.json").read_text())


# Writing and reading


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 6), max_size=12),
    batch=st.integers(1, 5),
    shard_bytes=st.integers(1, 400),
    data=st.data(),
)
def test_what_is_read_is_what_was_written(tmp_path_factory, lengths, batch, shard_bytes, data):
    path = tmp_path_factory.mktemp("store")
    fill(path, lengths, batch, shard_bytes)
    store, memory = ActivationStore.open(path, FINGERPRINT), read(lengths)
    assert len(store) == len(memory)
    assert store.complete
    assert same(store.load(), memory)
    assert same(store.load([SITES[1]]), replace(memory, values={SITES[1]: memory[SITES[1]]}))
    for i, name in enumerate(ids(len(lengths))):
        assert same(store.document(name), memory.document(i))

    # rows are numbered in the order of the appends
    on_disk = [int(name.removeprefix("doc ")) for name in store.done]
    assert sorted(on_disk) == list(range(len(lengths)))
    numbered = read(lengths, on_disk)
    indices = sorted(data.draw(st.lists(st.integers(0, max(len(store) - 1, 0)), max_size=20)))
    indices = indices if len(store) else []
    rows = store.rows(indices)
    assert torch.equal(rows[SITES[0]], numbered[SITES[0]][indices])
    assert torch.equal(rows[SITES[1]], numbered[SITES[1]][indices])
    assert torch.equal(rows.token_ids, numbered.token_ids[indices])
    assert torch.equal(rows.offsets, numbered.offsets[indices])
    assert [rows.document_ids[i] for i in rows.documents] == [
        numbered.document_ids[i] for i in numbered.documents[indices]
    ]
    assert same(store.rows(torch.tensor(indices), ["mlp_out.0"]), store.rows(indices, SITES[:1]))


def test_bad_rows_are_refused(tmp_path):
    store = fill(tmp_path / "store", [3, 2])
    for indices in ([5], [-1], [0, 7]):
        with pytest.raises(IndexError):
            store.rows(indices)
    for indices in ([1, 0], [[0]], [0.5], torch.tensor([True, False])):
        with pytest.raises(ValueError, match=r"ascending|integers"):
            store.rows(indices)
    with pytest.raises(InputError, match="no document 'nobody'"):
        store.document("nobody")
    with pytest.raises(InputError, match=r"resid_post\.7 was not read"):
        store.rows([0], ["resid_post.7"])


def test_without_an_order_documents_come_as_appended(tmp_path):
    with create(tmp_path / "store") as store:
        store.append(read([1, 2, 3], [2, 0]), texts(2))
        store.finish()
    assert ActivationStore.open(tmp_path / "store").load().document_ids == ["doc 2", "doc 0"]
    with create(tmp_path / "store", resume=True) as store:
        with pytest.raises(ValueError, match="order"):
            store.finish(order=["doc 0"])
        with pytest.raises(ValueError, match="order"):
            store.finish(order=["doc 0", "doc 0"])


def test_appended_rows_are_safe_from_later_changes(tmp_path):
    batch = read([3])
    with create(tmp_path / "store") as store:
        store.append(batch, texts(1))
        batch[SITES[0]].zero_()
        batch.token_ids.zero_()
    assert same(ActivationStore.open(tmp_path / "store").load(), read([3]))


def test_values_are_kept_as_bfloat16(tmp_path):
    values = torch.tensor([[1e30, 1 / 3, -70000.0, 1.0]])
    batch = replace(read([1]), values=dict.fromkeys(SITES, values))
    with create(tmp_path / "store") as store:
        store.append(batch, texts(1))
    stored = ActivationStore.open(tmp_path / "store").load()
    assert stored.dtype == torch.bfloat16
    assert torch.equal(stored[SITES[0]], values.bfloat16())


def test_a_reader_sees_what_is_committed(tmp_path):
    with create(tmp_path / "store") as store:
        store.append(read([2, 2], [0]), texts(1))
        assert len(store) == len(ActivationStore.open(tmp_path / "store")) == 0
        store.flush()
        reader = ActivationStore.open(tmp_path / "store")
        store.append(read([2, 2], [1]), ["text 1"])
        assert list(store.done) == list(reader.done) == ["doc 0"]
        assert not reader.complete
    assert len(reader) == 2
    assert len(ActivationStore.open(tmp_path / "store")) == 4
    assert "2 documents, 4 rows, mlp_out.0, resid_post.1, bfloat16" in repr(store)
    with pytest.raises(ValueError, match="reading only"):
        store.append(read([1]), texts(1))


def test_texts_are_not_kept(tmp_path):
    fill(tmp_path / "store", [2, 3])
    content = b"".join(f.read_bytes() for f in (tmp_path / "store").iterdir())
    assert b"doc 1" in content
    assert b"text 1" not in content


def test_batches_that_do_not_fit_are_refused(tmp_path):
    one, lengths = read([1, 2], [0]), [1, 2]
    with create(tmp_path / "store") as store:
        store.append(one, texts(1))
        for batch, message in (
            (one, "already"),
            (replace(read(lengths, [1]), fingerprint=FOREIGN), "another model"),
            (replace(read(lengths, [1]), values={SITES[0]: torch.ones(2, 4)}), "other sites"),
            (replace(read(lengths, [1]), values=dict.fromkeys(SITES, torch.ones(2, 5))), "d_model"),
        ):
            with pytest.raises(ValueError, match=message):
                store.append(batch, texts(1))
        with pytest.raises(ValueError, match="zip"):
            store.append(read(lengths, [1]), texts(2))
        store.flush()
        with pytest.raises(ValueError, match="already"):
            store.append(one, texts(1))
    assert same(ActivationStore.open(tmp_path / "store").load(), one)


# Going on


def test_resume_with_more_documents(tmp_path):
    fill(tmp_path / "store", [1, 2])
    before = shards(tmp_path / "store")
    fill(tmp_path / "store", [1, 2, 3])
    assert set(before) < set(shards(tmp_path / "store"))
    assert same(ActivationStore.open(tmp_path / "store").load(), read([1, 2, 3]))


def test_resume_with_other_data_is_refused(tmp_path):
    fill(tmp_path / "store", [1, 2])
    with create(tmp_path / "store", resume=True) as store:
        assert store.missing(ids(2), texts(2)) == []
        for names, contents in (
            (ids(2), ["text 0", "a secret"]),
            (ids(1), texts(1)),
            (["doc 1", "doc 0"], texts(2)),
        ):
            with pytest.raises(InputError, match="made from other data") as caught:
                store.missing(names, contents)
            assert "secret" not in str(caught.value)
        with pytest.raises(InputError, match="same id"):
            store.missing(["doc 0", "doc 0"], texts(2))


def test_resume_with_other_settings_is_refused(tmp_path):
    path = tmp_path / "store"
    fill(path, [1])
    with pytest.raises(InputError, match="There is an activation store"):
        create(path)
    with pytest.raises(InputError, match="readings 1, not 2"):
        create(path, resume=True, readings=2)
    for fingerprint in (FOREIGN, DERIVED):
        with pytest.raises(InputError, match="another model"):
            ActivationStore.create(path, fingerprint, SITES, D_MODEL, resume=True)
    with pytest.raises(InputError, match=r"sites mlp_out.0, resid_post.1, not mlp_out.0\."):
        ActivationStore.create(path, FINGERPRINT, SITES[:1], D_MODEL, resume=True)
    with pytest.raises(InputError, match="d_model 4, not 5"):
        ActivationStore.create(path, FINGERPRINT, SITES, 5, resume=True)
    ActivationStore.create(path, FINGERPRINT, SITES[::-1], D_MODEL, resume=True).close()


def test_one_writer_at_a_time(tmp_path):
    with create(tmp_path / "store"):
        with pytest.raises(InputError, match="Another process is writing"):
            create(tmp_path / "store", resume=True)
        assert len(ActivationStore.open(tmp_path / "store")) == 0
    create(tmp_path / "store", resume=True).close()


def test_other_folders_and_files_are_left_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="not a folder"):
        create(tmp_path / "file")
    with pytest.raises(InputError, match="no activation store"):
        create(tmp_path, resume=True)
    with pytest.raises(InputError, match="cannot be written"):
        create(tmp_path / "file" / "below")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# Models


def test_foreign_models_are_refused_and_derived_ones_warned_about(tmp_path):
    fill(tmp_path / "store", [1])
    with pytest.raises(InputError, match=r"store .* was made with another model"):
        ActivationStore.open(tmp_path / "store", FOREIGN)
    with pytest.warns(TransferWarning, match="evidence is not valid"):
        ActivationStore.open(tmp_path / "store", DERIVED)


# Damage


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not whole JSON"),
        (b'{"kind": "activations"', "not whole JSON"),
        (b"\xff", "not whole JSON"),
        (b"[" * 100_000, "not whole JSON"),
        (b"[]", "not the manifest"),
        (b'{"kind": "probe", "format": 1}', "not the manifest"),
        (b'{"kind": "activations", "format": 2}', "newer Endoscope .*Update"),
        (b'{"kind": "activations", "format": 0}', "older Endoscope .*Capture again"),
        (b'{"kind": "activations", "format": 1}', "not a valid manifest: fingerprint"),
    ],
)
def test_broken_manifest(tmp_path, content, message):
    path = tmp_path / "store"
    fill(path, [1])
    (path / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        ActivationStore.open(path)
    with pytest.raises(InputError, match=message):
        create(path, resume=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["shards"][0].update(file="../elsewhere.safetensors"),
        lambda m: m["shards"][0].update(rows=1),
        lambda m: m.update(order=[0, 0, 1, 2]),
        lambda m: m["shards"].append(m["shards"][0]),
        lambda m: m.update(dtype="float16"),
        lambda m: m.update(surprise=1),
    ],
)
def test_manifest_that_does_not_fit(tmp_path, change):
    path = tmp_path / "store"
    fill(path, [4, 3, 2, 1])
    changed = manifest(path)
    change(changed)
    (path / "manifest.json").write_text(json.dumps(changed))
    with pytest.raises(InputError):
        ActivationStore.open(path)


def test_missing_things_are_named(tmp_path):
    path = tmp_path / "store"
    with pytest.raises(InputError, match="There is no activation store"):
        ActivationStore.open(path)
    fill(path, [4, 3, 2, 1])
    (path / shards(path)[1]).unlink()
    with pytest.raises(InputError, match=r"shard-000001\.safetensors is missing"):
        ActivationStore.open(path)
    (path / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"has no manifest\.json"):
        ActivationStore.open(path)
    with pytest.raises(InputError, match="no activation store"):
        create(path, resume=True)


def test_damaged_shards_are_named(tmp_path):
    path = tmp_path / "store"
    reader = fill(path, [4, 3, 2, 1])
    shard = path / shards(path)[1]
    whole = shard.read_bytes()
    for broken in (whole[:-1], b"", b"\x80" * len(whole), whole[:8] + b"[" + whole[9:]):
        shard.write_bytes(broken)
        with pytest.raises(InputError, match=r"shard-000001\.safetensors is damaged"):
            ActivationStore.open(path)
    shard.write_bytes(whole[:-1])  # while it is open
    with pytest.raises(InputError, match=r"shard-000001\.safetensors is missing or damaged"):
        reader.load()


# A full disk


def test_full_disk_loses_nothing_that_was_committed(tmp_path, monkeypatch):
    path, lengths = tmp_path / "store", [4, 3, 2, 1]
    usage = namedtuple("usage", "total used free")
    with create(path) as store:
        store.append(read(lengths, [0]), texts(1))
        store.flush()
        store.append(read(lengths, [1]), ["text 1"])
        with monkeypatch.context() as full:
            full.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 10))
            with pytest.raises(InputError, match=r"disk is full: .*shard-000001.* needs"):
                store.flush()
        assert same(ActivationStore.open(path).load(), read(lengths, [0]))
        assert list(store.done) == ["doc 0"]
        store.append(read(lengths, [2]), ["text 2"])  # there is room again
    assert same(ActivationStore.open(path).load(), read(lengths, [0, 1, 2]))
    assert shards(path) == ["shard-000000.safetensors", "shard-000001.safetensors"]


@pytest.mark.parametrize("until", range(8))
def test_disk_filling_up_at_any_moment(tmp_path, monkeypatch, until):
    """The disk is full from the n-th fsync on; then there is room, and capture resumes."""
    path, lengths = tmp_path / "store", [4, 3, 2, 1]
    fsync, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > until:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="disk is full"):
            fill(path, lengths)
    assert not list(path.glob(".endoscope-*"))
    fill(path, lengths)
    assert same(ActivationStore.open(path).load(), read(lengths))
    assert shards(path) == sorted(shard["file"] for shard in manifest(path)["shards"])


def test_interruption_keeps_whole_batches(tmp_path):
    path, lengths = tmp_path / "store", [4, 3]

    def interrupted(store):
        store.append(read(lengths, [0]), texts(1))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), create(path) as store:
        interrupted(store)
    assert same(ActivationStore.open(path).load(), read(lengths, [0]))
    fill(path, lengths)
    assert same(ActivationStore.open(path).load(), read(lengths))

"""Parts of some data, captured apart and joined: what comes of it is what one capture gives."""

import shutil
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endoscope.activations import ActivationStore
from endoscope.activations.parts import merged, parse_part, part_of, share
from endoscope.errors import InputError
from tests.activations.test_store import (
    D_MODEL,
    FINGERPRINT,
    FOREIGN,
    SITES,
    fill,
    ids,
    manifest,
    read,
    same,
    shards,
    texts,
)


def whole(lengths):
    return ids(len(lengths)), texts(len(lengths))


def capture(path, lengths, which, until=None, shard_bytes=64, batch=2, **changes):
    """Write a part as capture does, longest documents first; with `until`, stop after so many."""
    part = part_of(which, *whole(lengths))
    names = share(part, ids(len(lengths)))
    contents = share(part, texts(len(lengths)))
    options = {"fingerprint": FINGERPRINT, "sites": SITES, "d_model": D_MODEL} | changes
    with ActivationStore.create(
        path, part=part, resume=True, shard_bytes=shard_bytes, **options
    ) as store:
        missing = store.missing(names, contents)
        numbers = share(part, range(len(lengths)))
        missing.sort(key=lambda i: -lengths[numbers[i]])
        for start in range(0, len(missing[:until]), batch):
            some = missing[start : start + batch]
            rows = read(lengths, [numbers[i] for i in some])
            values = {site: rows[site] for site in options["sites"]}
            rows = replace(rows, values=values, fingerprint=options["fingerprint"])
            store.append(rows, [contents[i] for i in some])
        if until is None:
            store.finish(order=names)
    return path


def halves(path, lengths):
    return [capture(path / str(k), lengths, f"{k}/2") for k in (1, 2)]


@given(items=st.lists(st.integers()), of=st.integers(1, 8))
def test_shares_are_even_and_merge_into_what_they_are_of(items, of):
    shares = [share(part_of(f"{k}/{of}", [], []), items) for k in range(1, of + 1)]
    assert merged(shares) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 6), max_size=12),
    of=st.integers(1, 5),
    batch=st.integers(1, 5),
    shard_bytes=st.integers(1, 400),
    data=st.data(),
)
def test_the_whole_is_what_one_capture_gives(
    tmp_path_factory, lengths, of, batch, shard_bytes, data
):
    path = tmp_path_factory.mktemp("parts")
    alone = fill(path / "alone", lengths, batch, shard_bytes)
    parts = [
        capture(path / str(k), lengths, f"{k}/{of}", batch=batch, shard_bytes=shard_bytes)
        for k in data.draw(st.permutations(range(1, of + 1)))
    ]
    joined = ActivationStore.join(path / "joined", parts)
    for part in parts:  # it needs them no more
        shutil.rmtree(part)
    opened = ActivationStore.open(path / "joined", FINGERPRINT)
    assert joined.complete
    assert opened.complete
    assert opened.part is None
    assert opened.order == alone.order == ids(len(lengths))
    assert same(joined.load(), alone.load())
    assert same(opened.load(), alone.load())
    assert same(opened.load(SITES[:1]), alone.load(SITES[:1]))
    for name in ids(len(lengths)):
        assert same(opened.document(name), alone.document(name))
    on_disk = [int(name.removeprefix("doc ")) for name in opened.done]
    everything = opened.rows(range(len(opened)))
    assert everything.token_ids.equal(read(lengths, on_disk).token_ids)


def test_the_whole_is_a_store_like_any_other(tmp_path):
    ActivationStore.join(tmp_path / "joined", halves(tmp_path, [1, 2, 3]))
    fill(tmp_path / "joined", [1, 2, 3, 4, 5])  # more data
    assert same(ActivationStore.open(tmp_path / "joined").load(), read([1, 2, 3, 4, 5]))


def test_joining_goes_on_where_it_was(tmp_path, monkeypatch):
    lengths = [4, 3, 2, 1, 4, 3]
    parts = halves(tmp_path, lengths)
    copy, copies = shutil.copyfileobj, []

    def interrupted(source, target):
        if len(copies) == 2:
            raise KeyboardInterrupt
        copies.append(source.name)
        copy(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ActivationStore.join(tmp_path / "joined", parts)
    assert not ActivationStore.open(tmp_path / "joined").complete
    assert len(shards(tmp_path / "joined")) == 2

    def counted(source, target):
        copies.append(source.name)
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfileobj", counted)
    for _ in range(2):
        assert same(ActivationStore.join(tmp_path / "joined", parts).load(), read(lengths))
        assert sorted(copies) == sorted(str(part / file) for part in parts for file in shards(part))


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    parts = halves(tmp_path, [1, 2, 3])
    fill(tmp_path / "whole", [5, 5, 5])
    fill(tmp_path / "more", [1, 2, 3, 4, 5, 6], batch=1, shard_bytes=1)
    for name in ("whole", "more"):
        before = manifest(tmp_path / name)
        with pytest.raises(InputError, match="something else than these parts"):
            ActivationStore.join(tmp_path / name, parts)
        assert manifest(tmp_path / name) == before
    with pytest.raises(InputError, match="with part 1/2, not none"):
        ActivationStore.join(parts[0], parts)
    with pytest.raises(InputError, match="no activation store"):
        ActivationStore.join(tmp_path, parts)


def test_a_part_goes_on_also_when_data_has_grown(tmp_path):
    lengths = [4, 3, 2, 1]
    part = capture(tmp_path / "1", lengths, "1/2", until=1)
    assert ActivationStore.open(part).part.number == 1
    other = capture(tmp_path / "2", lengths, "2/2")
    with pytest.raises(InputError, match="1 is not complete"):
        ActivationStore.join(tmp_path / "joined", [part, other])
    lengths += [5]
    capture(part, lengths, "1/2")
    with pytest.raises(InputError, match="from other data"):
        ActivationStore.join(tmp_path / "joined", [part, other])
    capture(other, lengths, "2/2")  # nothing of its own is new
    assert not (tmp_path / "joined").exists()
    assert same(ActivationStore.join(tmp_path / "joined", [other, part]).load(), read(lengths))


def test_a_part_is_not_gone_on_with_as_another(tmp_path):
    part = capture(tmp_path / "1", [1, 2, 3, 4], "1/2")
    for which in ("2/2", "1/3"):
        with pytest.raises(InputError, match=f"with part 1/2, not {which}"):
            capture(part, [1, 2, 3, 4], which)
    with pytest.raises(InputError, match="with part 1/2, not none"):
        fill(part, [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": FOREIGN}, "with another model"),
        ({"sites": SITES[:1]}, "at other sites"),
        ({"readings": 2}, "another number of readings"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, changes, message):
    parts = halves(tmp_path, [1, 2, 3])
    shutil.rmtree(parts[1])
    capture(parts[1], [1, 2, 3], "2/2", **changes)
    with pytest.raises(InputError, match=message):
        ActivationStore.join(tmp_path / "joined", parts)
    assert not (tmp_path / "joined").exists()


def test_parts_that_are_not_all_there_once_are_refused(tmp_path):
    one, two = halves(tmp_path, [1, 2, 3])
    third = capture(tmp_path / "third", [1, 2, 3], "2/3")
    other = capture(tmp_path / "other", [1, 2, 3, 4], "2/2")
    fill(tmp_path / "whole", [1, 2, 3])
    for parts, message in (
        ([], "nothing to join"),
        ([one], r"Missing: part 2/2\."),
        ([third], r"Missing: part 1/3, 3/3\."),
        ([one, two, one], r"1 and .*1 are both part 1/2\."),
        ([one, third], "another number of parts"),
        ([one, other], "from other data"),
        ([one, tmp_path / "whole"], "captured as a whole"),
        ([one, tmp_path / "nowhere"], "no activation store at"),
    ):
        with pytest.raises(InputError, match=message):
            ActivationStore.join(tmp_path / "joined", parts)
    assert not (tmp_path / "joined").exists()


def test_a_shard_that_goes_missing_meanwhile_is_said(tmp_path, monkeypatch):
    parts = halves(tmp_path, [4, 3, 2, 1])
    stores = [ActivationStore.open(part) for part in parts]
    monkeypatch.setattr(ActivationStore, "open", lambda path: stores.pop(0))
    (parts[1] / shards(parts[1])[0]).unlink()
    with pytest.raises(InputError, match=r"shard-000000.safetensors cannot be read"):
        ActivationStore.join(tmp_path / "joined", parts)


@pytest.mark.parametrize(
    "text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "²/3", " 1/2"]
)
def test_what_is_no_part_is_refused(text):
    with pytest.raises(InputError, match=r"is no part\. Give"):
        parse_part(text)

"""A store whose writer is killed with SIGKILL, at every system call that matters and at random."""

import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

import endoscope
from endoscope.activations import Activations, ActivationStore, shards
from endoscope.activations.parts import part_of, share
from endoscope.artifacts import Fingerprint
from endoscope.models import Site
from tests.tiny import save_tiny

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# Writers are forked from a process that has imported all that they need and used nothing of it.
PROCESSES = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
PROCESSES.set_forkserver_preload(["endoscope.activations", "pytest", __name__])

FINGERPRINT = Fingerprint(config="1" * 64, weights="2" * 64)
SITES = (Site.parse("mlp_out.0"), Site.parse("resid_post.1"))
D_MODEL = 8


def read(positions):
    """Stand in for a model: values depend on the document and the token alone."""
    rows = [
        torch.randn(i % 6, D_MODEL, generator=torch.Generator().manual_seed(i)) for i in positions
    ]
    values = torch.cat(rows).bfloat16()
    token_ids = values[:, 0].view(torch.int16).long()
    lengths = torch.tensor([len(document) for document in rows])
    return Activations(
        values={SITES[0]: values, SITES[1]: -values},
        token_ids=token_ids,
        offsets=torch.stack([token_ids, token_ids + 1], 1),
        documents=torch.arange(len(rows)).repeat_interleave(lengths),
        document_ids=[f"doc {i}" for i in positions],
        fingerprint=FINGERPRINT,
    )


def fill(path, documents, which="1/1"):
    """Write what is missing of a part, longest documents first, as capture does."""
    ids, texts = [f"doc {i}" for i in range(documents)], [f"text {i}" for i in range(documents)]
    part, numbers = part_of(which, ids, texts), range(documents)
    ids, texts, numbers = share(part, ids), share(part, texts), share(part, numbers)
    with ActivationStore.create(
        path, FINGERPRINT, SITES, D_MODEL, part=part, resume=True, shard_bytes=500
    ) as store:
        missing = sorted(store.missing(ids, texts), key=lambda i: -(numbers[i] % 6))
        for start in range(0, len(missing), 3):
            batch = missing[start : start + 3]
            store.append(read([numbers[i] for i in batch]), [texts[i] for i in batch])
        store.finish(order=ids)


def fill_and_die(path, documents, step):
    """Fill a store and be killed before the given step; return if there are fewer."""
    die_before(step)
    fill(path, documents)


def join_and_die(path, parts, step):
    """Join parts and be killed before the given step; return if there are fewer."""
    die_before(step)
    ActivationStore.join(path, parts)


def die_before(step):
    """Have this process killed before the given step.

    The steps are what changes something on the disk: after one is before the next.
    """
    taken = 0

    def deadly(call):
        def counted(*arguments, **options):
            nonlocal taken
            if taken == step:
                os.kill(os.getpid(), signal.SIGKILL)
            taken += 1
            return call(*arguments, **options)

        return counted

    shards.save_file = deadly(shards.save_file)
    shutil.copyfileobj = deadly(shutil.copyfileobj)
    for name in ("fsync", "replace", "mkdir"):
        setattr(os, name, deadly(getattr(os, name)))


def run(target, *arguments, kill_after=None):
    """Run in a process of its own, and return how it ended (negative: killed)."""
    process = PROCESSES.Process(target=target, args=arguments, daemon=True)
    process.start()
    if kill_after is not None:
        time.sleep(kill_after)
        process.kill()
    process.join(60)
    assert process.exitcode is not None, "the writer hangs"
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode


def check_whole(path, documents):
    """Compare with what an uninterrupted writer would have stored, and look for left-overs."""
    store, wanted = ActivationStore.open(path, FINGERPRINT), read(range(documents))
    assert store.complete
    loaded = store.load()
    assert loaded.document_ids == wanted.document_ids
    assert len(store) == len(wanted)
    for site in SITES:
        assert torch.equal(loaded[site], wanted[site])
    assert torch.equal(loaded.token_ids, wanted.token_ids)
    assert torch.equal(loaded.offsets, wanted.offsets)
    assert torch.equal(loaded.documents, wanted.documents)
    committed = {shard.file for shard in store._manifest.shards}
    assert {file.name for file in path.iterdir()} == committed | {"manifest.json", ".lock"}


def check_prefix(path):
    """Whatever has been committed must be right before anything mends it."""
    if (path / "manifest.json").exists():
        store = ActivationStore.open(path)
        for name in store.done:
            document, wanted = store.document(name), read([int(name.removeprefix("doc "))])
            assert torch.equal(document[SITES[0]], wanted[SITES[0]])


def test_killed_at_every_step(tmp_path):
    documents, step = 12, 0
    while run(fill_and_die, path := tmp_path / str(step), documents, step):
        check_prefix(path)
        fill(path, documents)
        check_whole(path, documents)
        step += 1
    check_whole(path, documents)
    assert len(list(path.glob("shard-*"))) >= 2
    assert step > 15  # else nothing was tried


def test_killed_at_every_step_of_joining(tmp_path):
    documents, step = 12, 0
    parts = [tmp_path / "part 1", tmp_path / "part 2"]
    for number, part in enumerate(parts, 1):
        fill(part, documents, f"{number}/2")
    while run(join_and_die, path := tmp_path / str(step), parts, step):
        check_prefix(path)
        ActivationStore.join(path, parts)
        check_whole(path, documents)
        step += 1
    check_whole(path, documents)
    assert step > 15  # else nothing was tried


def test_killed_at_random_again_and_again(tmp_path):
    documents = 300
    started = time.monotonic()
    run(fill, tmp_path / "whole", documents)
    duration = time.monotonic() - started
    check_whole(tmp_path / "whole", documents)

    seed = random.randrange(1 << 32)
    print("seed", seed)  # shown if the test fails
    moments, kills, path = random.Random(seed), 0, tmp_path / "store 0"
    while kills < 5:
        if run(fill, path, documents, kill_after=moments.uniform(0, duration / 4)):
            kills += 1
            check_prefix(path)
        else:  # it was faster than the one that was timed: strike sooner, at another
            check_whole(path, documents)
            duration /= 2
            path = tmp_path / f"store {duration}"
    run(fill, path, documents)
    check_whole(path, documents)


def test_what_a_killed_writer_leaves_is_swept(tmp_path: Path) -> None:
    """Half-written files, of ours and of safetensors, in a folder that has nothing else yet."""
    left = [tmp_path / "acts" / name for name in (".endoscope-x.tmp", ".tmpBFENQa")]
    (tmp_path / "acts").mkdir()
    for path in left:
        path.write_bytes(b"half")
    model = endoscope.open(save_tiny(tmp_path / "tiny"))
    model.capture_to(tmp_path / "acts", ["one", "two"], "resid_post.0")
    assert not any(path.exists() for path in left)

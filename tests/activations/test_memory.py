from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from endoscope.activations import Activations
from endoscope.artifacts import Fingerprint
from endoscope.errors import InputError
from endoscope.models import Site

FINGERPRINT = Fingerprint(config="1" * 64, weights="2" * 64)
FOREIGN = Fingerprint(config="1" * 64, weights="3" * 64)
SITES = (Site.parse("resid_post.1"), Site.parse("mlp_out.0"))


def activations(lengths, first=0, sites=SITES):
    """Documents of these lengths; the values say which document and token they are of."""
    rows = [(document, token) for document, n in enumerate(lengths, first) for token in range(n)]
    table = torch.tensor(rows, dtype=torch.int64).reshape(-1, 2)
    return Activations(
        values={
            site: torch.cat([table, torch.full((len(rows), 1), site.layer)], 1).float()
            for site in sites
        },
        token_ids=table[:, 0] * 1000 + table[:, 1],
        offsets=torch.stack([table[:, 1], table[:, 1] + 1], 1),
        documents=table[:, 0] - first,
        document_ids=[f"doc {i}" for i in range(first, first + len(lengths))],
        fingerprint=FINGERPRINT,
    )


def same(one, other):
    return (
        one.document_ids == other.document_ids
        and set(one.sites) == set(other.sites)
        and all(torch.equal(one[site], other[site]) for site in one.sites)
        and one.dtype == other.dtype
        and torch.equal(one.token_ids, other.token_ids)
        and torch.equal(one.offsets, other.offsets)
        and torch.equal(one.documents, other.documents)
        and one.fingerprint == other.fingerprint
    )


lengths = st.lists(st.integers(0, 5), max_size=8)


def test_sites_by_object_text_and_foreign_name():
    acts = activations([2, 3])
    for name in (SITES[0], "resid_post.1", "blocks.1.hook_resid_post"):
        assert acts[name] is acts.values[SITES[0]]
    with pytest.raises(InputError, match=r"resid_post\.2 was not read.*mlp_out\.0, resid_post\.1"):
        acts["resid_post.2"]
    with pytest.raises(InputError, match="is not a site"):
        acts["layer 2"]


@settings(deadline=None)
@given(lengths)
def test_documents_are_the_rows_they_came_as(lengths):
    acts = activations(lengths)
    assert len(acts) == sum(lengths)
    end = 0
    for i, n in enumerate(lengths):
        assert acts.rows(i) == slice(end, end + n)
        end += n
        document = acts.document(i)
        assert same(document, activations([n], first=i))
        if n:
            assert document[SITES[0]].data_ptr() == acts[SITES[0]][acts.rows(i)].data_ptr()
    for i in (-1, len(lengths)):
        with pytest.raises(IndexError):
            acts.rows(i)


@settings(deadline=None)
@given(st.lists(lengths, min_size=1, max_size=4))
def test_concatenation_is_having_read_them_together(parts):
    firsts = [sum(map(len, parts[:i])) for i in range(len(parts))]
    joined = Activations.concatenate(
        [
            activations(part, first, SITES[:: (-1) ** i])  # the order of the sites is free
            for i, (part, first) in enumerate(zip(parts, firsts, strict=True))
        ]
    )
    assert same(joined, activations([n for part in parts for n in part]))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (activations([1], 5, SITES[:1]), "different sites"),
        (activations([1], 5).to(torch.bfloat16), "dtype"),
        (replace(activations([1], 5), fingerprint=FOREIGN), "different models"),
        (activations([1], 1), "different from each other"),
    ],
)
def test_what_does_not_belong_together_is_not_concatenated(other, message):
    with pytest.raises(ValueError, match=message):
        Activations.concatenate([activations([2, 3]), other])
    with pytest.raises(ValueError, match="nothing"):
        Activations.concatenate([])


GOOD = activations([2, 1])
FIRST = GOOD[SITES[0]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": {}}, "at least one site"),
        ({"values": {SITES[0]: FIRST[:2]}}, r"resid_post.1 must be \(3, 3\)"),
        ({"values": {SITES[0]: FIRST, SITES[1]: FIRST[:, :2]}}, "mlp_out"),
        ({"values": {SITES[0]: FIRST.long()}}, "floating point, not .* int64"),
        ({"values": {SITES[0]: FIRST[None]}}, "resid_post"),
        ({"token_ids": GOOD.token_ids.int()}, r"token_ids must be \(3,\) int64, not \(3,\) int32"),
        ({"token_ids": GOOD.token_ids[:2]}, "token_ids"),
        ({"offsets": GOOD.offsets[:, 0]}, "offsets"),
        ({"documents": torch.tensor([0, 0])}, "token_ids"),
        ({"documents": torch.tensor([0, 1, 0])}, "ascending"),
        ({"documents": torch.tensor([0, 0, 2])}, "ascending"),
        ({"documents": torch.tensor([-1, 0, 1])}, "ascending"),
        ({"document_ids": ["a", "a"]}, "different from each other"),
    ],
)
def test_wrong_shapes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(GOOD, **changes)


def test_to_another_dtype():
    half = GOOD.to(torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half["mlp_out.0"].float(), GOOD["mlp_out.0"])
    assert half.nbytes * 2 == GOOD.nbytes == 3 * 3 * 4 * 2


def test_repr_says_how_much_of_what():
    assert repr(GOOD) == (
        "Activations(2 documents, 3 tokens, resid_post.1, mlp_out.0, float32 [3, 3], 0.0 MB)"
    )

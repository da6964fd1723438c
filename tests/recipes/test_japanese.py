"""The Japanese generator: what it claims about its own text must hold."""

import re
from collections import Counter
from itertools import pairwise

import pytest
from recipes.pii.document import LABELS, fill, mark
from recipes.pii.japanese import generate
from recipes.pii.japanese.grammar import TERMINALS, rules

DOCUMENTS = list(generate(3000, seed=11))


def test_same_seed_same_documents():
    assert list(generate(60, seed=3)) == list(generate(60, seed=3))
    assert list(generate(60, seed=3)) != list(generate(60, seed=4))


def test_spans_are_inside_the_text_sorted_apart_and_trimmed():
    for text, spans, lang, register in DOCUMENTS:
        assert lang == "ja"
        assert register
        end_before = 0
        for start, end, label in spans:
            assert end_before <= start < end <= len(text)
            assert text[start:end].strip() == text[start:end]
            assert label in LABELS
            end_before = end


def test_every_label_occurs_and_much_text_has_none():
    counts = Counter(label for document in DOCUMENTS for _, _, label in document.spans)
    assert set(counts) == set(LABELS)
    bare = sum(not document.spans for document in DOCUMENTS)
    assert 0.2 < bare / len(DOCUMENTS) < 0.6


@pytest.mark.parametrize(
    ("label", "shape"),
    [
        ("PHONE", r"[\d０-９+()（）－ -]{9,17}"),
        ("EMAIL", r"[^@\s]+@[^@\s]+\.[a-z]+"),
        ("IP", r"\d{1,3}(\.\d{1,3}){3}|[0-9a-f:]+"),
        ("DATE_OF_BIRTH", r"[SHR昭平令]?[和成]?[元\d０-９]+[年./－-].+"),
    ],
)
def test_values_have_the_shape_of_their_label(label, shape):
    found = [d.text[s:e] for d in DOCUMENTS for s, e, known in d.spans if known == label]
    assert found
    for value in found:
        assert re.fullmatch(shape, value), value


def test_names_are_varied_and_hold_no_honorific_or_particle():
    names = [d.text[s:e] for d in DOCUMENTS for s, e, label in d.spans if label == "NAME"]
    assert len(set(names)) > 0.75 * len(names)
    assert not [name for name in names if re.search(r"(さん|様|容疑者|、|。|は)$", name)]


def test_every_slot_of_every_rule_is_known():
    known = set(rules()) | set(TERMINALS)
    for rule in rules().values():
        for alternative in rule.alternatives:
            for slot in re.findall(r"\{(\w+)", alternative):
                assert slot in known or re.fullmatch("[A-DPJ]", slot), alternative


def test_fill_moves_marks_along():
    inner = fill("{name:NAME}さん", {"name": "山田"})
    filled = fill("昨日{who}と{{{other}}}", {"who": inner, "other": mark("李", "NAME")})
    assert filled.text == "昨日山田さんと{李}"
    assert filled.spans == ((2, 4, "NAME"), (8, 9, "NAME"))


@pytest.mark.parametrize(
    ("template", "value"), [("{x:PERSON}", "a"), ("{x:NAME}", mark("a", "NAME"))]
)
def test_fill_refuses_an_unknown_label_and_a_second_mark(template, value):
    with pytest.raises(ValueError, match="cannot be labelled"):
        fill(template, {"x": value})


def test_a_reading_in_brackets_is_that_of_the_name_before_it():
    pairs = [
        (text[s:e], text[s2:e2])
        for text, spans, _, _ in DOCUMENTS
        for (s, e, _), (s2, e2, label) in pairwise(spans)
        if label == "NAME" and text[e:s2] == "（" and re.fullmatch("[ぁ-ん]+ [ぁ-ん]+", text[s2:e2])
    ]
    known = {
        "渡辺": "わたなべ",
        "高橋": "たかはし",
        "石井": "いしい",
        "小島": "こじま",
        "渡邊": "わたなべ",
        "佐藤": "さとう",
        "鈴木": "すずき",
        "田中": "たなか",
        "伊藤": "いとう",
        "山本": "やまもと",
        "中村": "なかむら",
        "小林": "こばやし",
        "加藤": "かとう",
        "吉田": "よしだ",
        "松本": "まつもと",
        "井上": "いのうえ",
        "清水": "しみず",
        "斎藤": "さいとう",
    }
    checked = [(n, r) for n, r in pairs if n[:2] in known]
    assert checked
    assert all(reading.startswith(known[name[:2]]) for name, reading in checked)


def test_line_breaks_are_line_breaks():
    assert any("\n" in document.text for document in DOCUMENTS)
    assert not any("\\n" in document.text for document in DOCUMENTS)

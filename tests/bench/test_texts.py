import pytest

import endoscope
from endoscope.bench.capture import TEXTS
from endoscope.bench.texts import personal, prose
from endoscope.guard.scoring import language


def test_texts_are_the_same_each_time_and_differ_from_each_other():
    assert prose(12) == prose(12)
    assert prose(12) != prose(12, seed=1)
    assert len(set(prose(12))) == 12
    assert personal("ja", 20) == personal("ja", 20)


def test_prose_has_the_lengths_asked_for_in_no_order():
    lengths = [len(text.split()) for text in prose(9, shortest=8, longest=40)]
    assert sorted(lengths) == [8, 12, 16, 20, 24, 28, 32, 36, 40]
    assert lengths != sorted(lengths)


@pytest.mark.parametrize("name", ["en", "ja"])
def test_personal_texts_are_in_their_language_and_have_no_empty_slot(name):
    texts = personal(name, 60)
    assert all("{" not in text for text in texts)
    assert {language(text) for text in texts} == {name}


@pytest.mark.embedded
@pytest.mark.parametrize("model", ["smollm2-135m-instruct", "gemma-3-270m"])
def test_prose_has_8_to_256_tokens(model):
    tokenizer = endoscope.open(model).tokenizer
    lengths = sorted(len(encoded.ids) for encoded in tokenizer.encode_batch(prose(TEXTS)))
    assert 7 <= lengths[0] <= 16
    assert 200 <= lengths[-1] <= 256

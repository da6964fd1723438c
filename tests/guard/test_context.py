"""Words before a number that say whose it is not."""

import pytest
import torch

from endoscope.guard.context import named_otherwise
from endoscope.guard.spans import from_scores
from endoscope.readouts import TokenScores


@pytest.mark.parametrize(
    ("before", "other"),
    [
        ("注文番号は", True),
        ("ご注文番号：", True),
        ("伝票番号 ", True),
        ("お問い合わせ番号は ", True),
        ("【お問い合わせ番号】", True),
        ("Order: ", True),
        ("Order ID ", True),
        ("The part is ", True),
        ("Tracking code: ", True),
        # the bare word says too little, and what a probe has found stays
        ("Order ", False),
        ("money order ", False),
        ("for my part ", False),
        ("a ticket for ", False),
        ("Your order number is ", True),
        ("Invoice no. ", True),
        ("Ticket #", True),
        ("TRACKING ID: ", True),
        ("", False),
        ("マイナンバーは", False),
        ("会員番号 ", False),
        ("Account number ", False),
        ("In order to pay, my card ", False),
        ("Order by passport ", False),
        ("ordered ", False),
        ("注文した人の免許証番号は", False),
        ("My order number is 5, my passport number is ", False),
    ],
)
def test_numbers_that_a_business_gives_out(before: str, other: bool) -> None:
    text = before + "20240612-0031"
    assert named_otherwise(text, len(before), "ID") is other
    assert not named_otherwise(text, len(before), "PHONE")

    labels = ("O", "ID")
    offsets = torch.tensor([[len(before), len(text) - 5], [len(text) - 5, len(text)]])
    scores = TokenScores(offsets, torch.tensor([[0.1, 0.9], [0.1, 0.9]]), labels)
    found = from_scores(text, scores, {"ID": 0.5})
    assert [text[s.start : s.end] for s in found] == ([] if other else ["20240612-0031"])

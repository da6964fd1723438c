"""Guards: a policy over the scores of a probe, for text.

Text is scored token by token, tokens become spans of characters, validators confirm and complete
them, the policy says what happens to each.
"""

from endoscope.guard.document import DocumentStream
from endoscope.guard.guard import Guard
from endoscope.guard.lines import Summary
from endoscope.guard.policy import KeySource, Policy, Rule
from endoscope.guard.redact import Redaction, Replacer, redact
from endoscope.guard.released import Fired, Released
from endoscope.guard.scoring import Scorer, UnscoredError
from endoscope.guard.spans import Span
from endoscope.guard.stream import GuardStream
from endoscope.guard.validators import VALIDATORS, Validator, validated

__all__ = [
    "VALIDATORS",
    "DocumentStream",
    "Fired",
    "Guard",
    "GuardStream",
    "KeySource",
    "Policy",
    "Redaction",
    "Released",
    "Replacer",
    "Rule",
    "Scorer",
    "Span",
    "Summary",
    "UnscoredError",
    "Validator",
    "redact",
    "validated",
]

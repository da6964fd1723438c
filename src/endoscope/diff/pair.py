"""The two models that are compared."""

from typing import NamedTuple

from endoscope.engine import Model
from endoscope.engine.capture import Text
from endoscope.errors import InputError


class Pair(NamedTuple):
    """A base and what became of it."""

    base: Model
    tuned: Model

    @classmethod
    def of(cls, base: Model, tuned: Model) -> "Pair":
        """Put two models beside each other.

        Raises:
            InputError: they differ in architecture, shape or tokens, so that what one says cannot
                be read by the other token for token.
        """
        mine, its = base.loaded.anatomy, tuned.loaded.anatomy
        if (mine.family, mine.n_layers, mine.d_model) != (its.family, its.n_layers, its.d_model):
            raise InputError(
                f"{base.name} is a {mine.family} of {mine.n_layers} layers and width "
                f"{mine.d_model}; {tuned.name} a {its.family} of {its.n_layers} and {its.d_model}.",
                "Give the model that was fine-tuned as the base.",
            )
        if mine.vocabulary_size != its.vocabulary_size:
            raise InputError(
                f"{base.name} tells {mine.vocabulary_size} tokens apart, {tuned.name} "
                f"{its.vocabulary_size}.",
                "Resize the embedding of one to that of the other.",
            )
        if base.tokenizer.serialised() != tuned.tokenizer.serialised():
            raise InputError(
                f"{base.name} and {tuned.name} have different tokenizers.",
                "If their tokens are the same, put the base's tokenizer into the tuned folder.",
            )
        if tuned.loaded.adapter and tuned.base_fingerprint.digest != base.fingerprint.digest:
            raise InputError(
                f"{tuned.name} is an adapter for another base than {base.name}.",
                "Give the model that it was trained on: its adapter_config.json names it.",
            )
        _share_template(base, tuned)
        if not base.capabilities.causal:
            raise InputError(
                f"{base.name} does not generate.", "A diff compares models that write."
            )
        return cls(base, tuned)

    def beside(self, other: Model) -> "Pair":
        """Put another fine-tune beside the same base, and give it the same chat template.

        Raises:
            InputError: as of `of`.
        """
        other.tokenizer.hf.chat_template = self.tuned.tokenizer.hf.chat_template
        return Pair.of(self.base, other)

    def given(self, question: str) -> Text:
        """Return a question as the models are given it: a conversation, where they can have one."""
        if self.base.tokenizer.can_chat:
            return [{"role": "user", "content": question}]
        return question

    def rendered(self, question: str) -> str:
        """Return the text that comes before the answer to a question."""
        given = self.given(question)
        return given if isinstance(given, str) else self.tuned.tokenizer.chat(given, reply=True)


def _share_template(base: Model, tuned: Model) -> None:
    """Give both the chat template of the tuned model, or of its base where it has none.

    Else what is measured would be the difference of templates: a base is often asked in plain text.
    """
    template = tuned.tokenizer.hf.chat_template or base.tokenizer.hf.chat_template
    for model in (base, tuned):
        model.tokenizer.hf.chat_template = template

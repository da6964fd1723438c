"""Contrasting system prompts on the same questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from endoscope.artifacts import DataRef
from endoscope.directions.contrast import Contrast
from endoscope.directions.reading import document_rows, stack
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models import Site

LABELS = ("negative", "positive")
_FORM = 'Give "positive" and "negative", system prompts, and "questions", a list of texts.'


@dataclass(frozen=True, repr=False)
class SystemPrompts:
    """Two system prompts and the questions that the model answers under each.

    The activations are those of the answers' tokens, averaged over each answer: Chen et al. 2025,
    "Persona vectors: monitoring and controlling character traits in language models".

    Attributes:
        name: what people call them.
        sha256: of the file.
        positive: asks for what the direction is of.
        negative: asks for the opposite, or for nothing of the kind.
        questions: each is a pair of answers.
        max_tokens: of an answer.
        path: the file that this is the whole of, if it is.
    """

    name: str
    sha256: str
    positive: str
    negative: str
    questions: tuple[str, ...]
    max_tokens: int = 64
    path: Path | None = None

    @classmethod
    def read_file(cls, path: str | Path) -> "SystemPrompts":
        """Read YAML or JSON: `positive`, `negative`, `questions` and, if wanted, `max_tokens`.

        Raises:
            InputError: the file cannot be read, or is not as above.
        """
        path = Path(path)
        try:
            raw = path.read_bytes()
            content = yaml.safe_load(raw)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}).", "Give a file.") from None
        except (yaml.YAMLError, RecursionError, UnicodeDecodeError):
            raise InputError(f"{path.name} is not valid YAML.", _FORM) from None
        content = _checked(path, content)
        content["questions"] = tuple(content["questions"])
        return cls(path.name, sha256(raw).hexdigest(), **content, path=path)

    @property
    def ref(self) -> DataRef:
        """What cards say about the data."""
        return DataRef(name=self.name, sha256=self.sha256, rows=len(self.questions))

    @property
    def options(self) -> dict[str, str]:
        """What a command line says beside the file: nothing."""
        return {}

    def read(
        self, model: Model, sites: Sequence[Site], *, progress: bool = False
    ) -> dict[Site, Contrast]:
        """Let the model answer, and return a contrast at each site; a question is a unit.

        Raises:
            InputError: an answer has no tokens, or the model has no chat template.
        """
        prompts = [
            model.tokenizer.chat(
                [{"role": "system", "content": system}, {"role": "user", "content": question}],
                reply=True,
            )
            for question in self.questions
            for system in (self.negative, self.positive)
        ]
        answers = model.generate(prompts, max_tokens=self.max_tokens, progress=progress)
        # What the model saw when it answered, token boundaries at the seam aside.
        texts = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        ids = [f"{i} ({label})" for i in range(len(self.questions)) for label in LABELS]
        acts = model.capture(texts, sites, ids=ids, progress=progress)
        starts = [len(prompt) for prompt in prompts]
        classes = [0, 1] * len(self.questions)
        units = [number // 2 for number in range(len(texts))]
        return {
            site: Contrast(
                *stack(document_rows(acts, site, "mean", starts), classes, units),
                LABELS,
                paired=True,
            )
            for site in sites
        }

    def __len__(self) -> int:
        return len(self.questions)

    def __repr__(self) -> str:
        return f"SystemPrompts({self.name!r}: {len(self):,} questions)"


def _checked(path: Path, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise InputError(f"{path.name} has no keys.", _FORM)
    known = {"positive", "negative", "questions", "max_tokens"}
    if unknown := sorted(str(key) for key in set(content) - known):
        raise InputError(f"{path.name}: {unknown[0]} is not a key.", _FORM)
    questions = content.get("questions")
    if not isinstance(questions, list) or not questions or not all(map(_text, questions)):
        raise InputError(f"{path.name}: questions are no list of texts.", _FORM)
    for key in ("positive", "negative"):
        if not _text(content.get(key)):
            raise InputError(f"{path.name}: {key} is no text.", _FORM)
    tokens = content.get("max_tokens", 64)
    if type(tokens) is not int or tokens < 1:
        raise InputError(f"{path.name}: max_tokens is no number of tokens.", "Give 1 or more.")
    return content


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())

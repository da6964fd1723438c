r"""A grammar of text whose personal data is marked.

A rule is a section of a grammar file, its lines are the alternatives (`3: ` before one makes it
three times as likely). In a line:

- `{symbol}` expands a rule or a leaf; `{^symbol}` with a capital letter, `{a symbol}` with its
  article, `{symbol#1}` the same text at each place of the document, `{n:1-99}` a number.
- `{p}`, `{q}`, ... (one letter) are the persons of the document: `{p}` the full name, `{p.last}`,
  `{p.first}`, ... its other forms, all marked NAME; `{p.he}`, `{p.his}` the words for the person.
- `{someone}` is a person named once; `{someone.last}` takes a form.
- `<one|other|>` chooses; `\n` breaks the line, `\t` is a tab; `{{` and `}}` are braces, `\<`, `\>`,
  `\|` signs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from recipes.pii.document import Marked, Value, join, mark
from recipes.pii.english.people import Person, someone
from recipes.pii.words import sections

Node = str | tuple[str, object]  # text, ("symbol", name) or ("choice", branches)
TOKEN = re.compile(r"\\(.)|(\{\{|\}\})|\{([^{}]+)\}|([<|>])|([^\\{}<|>]+)", re.S)
WEIGHT = re.compile(r"(\d+): ")


def parse(line: str) -> list[Node]:
    """One alternative as a list of nodes."""
    stack: list[list[list[Node]]] = [[[]]]
    end = 0
    for found in TOKEN.finditer(line):
        if found.start() != end:
            raise ValueError(f"cannot read {line[end:]!r} in {line!r}")
        end = found.end()
        escape, brace, symbol, sign, text = found.groups()
        branch = stack[-1][-1]
        if escape:
            branch.append({"n": "\n", "t": "\t"}.get(escape, escape))
        elif brace:
            branch.append(brace[0])
        elif symbol:
            branch.append(("symbol", symbol))
        elif text:
            branch.append(text)
        elif sign == "<":
            stack.append([[]])
        elif len(stack) == 1:
            branch.append(sign)
        elif sign == "|":
            stack[-1].append([])
        else:
            branches = stack.pop()
            stack[-1][-1].append(("choice", branches))
    if len(stack) != 1 or end != len(line):
        raise ValueError(f"a choice is left open in {line!r}")
    return stack[0][0]


class Rule:
    """The alternatives of one symbol and their weights."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.bodies: list[list[Node]] = []
        self.weights: list[int] = []
        for line in lines:
            weight = WEIGHT.match(line)
            self.weights.append(int(weight[1]) if weight else 1)
            self.bodies.append(parse(line[weight.end() :] if weight else line))


@cache
def rules(*files: str) -> Mapping[str, Rule]:
    """The rules of several grammar files together."""
    merged: dict[str, list[str]] = {}
    for file in files:
        for name, lines in sections(f"english/grammar/{file}").items():
            merged.setdefault(name, []).extend(lines)
    return {name: Rule(lines) for name, lines in merged.items()}


Leaf = Callable[["Scope"], Value]


class Scope:
    """What one document remembers: its persons and its repeated texts."""

    def __init__(
        self, rng: random.Random, grammar: Mapping[str, Rule], leaves: Mapping[str, Leaf]
    ) -> None:
        self.rng = rng
        self.grammar = grammar
        self.leaves = leaves
        self.persons: dict[str, Person] = {}
        self.kept: dict[str, Marked] = {}

    def expand(self, symbol: str) -> Marked:
        """The text of one symbol.

        Raises:
            KeyError: No rule, leaf or form has that name.
        """
        if symbol.startswith("^"):
            inner = self.expand(symbol[1:])
            head = inner.text[:1].upper()
            return Marked(head + inner.text[1:], inner.spans) if len(head) == 1 else inner
        if symbol.startswith("a "):
            inner = self.expand(symbol[2:])
            vowel = inner.text[:1].lower() in "aeio" and not inner.text.lower().startswith("uni")
            return join(["an " if vowel else "a ", inner])
        if symbol.startswith("n:"):
            low, high = symbol[2:].split("-")
            return Marked(str(self.rng.randint(int(low), int(high))))
        if "#" in symbol:
            if symbol not in self.kept:
                self.kept[symbol] = self.expand(symbol.split("#")[0])
            return self.kept[symbol]
        name, _, form = symbol.partition(".")
        if len(name) == 1 and name.islower():
            return self.person(self.persons.setdefault(name, Person(self.rng)), form)
        if name == "someone":
            if not form:
                return mark(someone(self.rng), "NAME")
            return self.person(Person(self.rng), form)
        if symbol in self.leaves:
            value = self.leaves[symbol](self)
            return value if isinstance(value, Marked) else Marked(value)
        rule = self.grammar[symbol]
        return self.body(self.rng.choices(rule.bodies, rule.weights)[0])

    def person(self, person: Person, form: str) -> Marked:
        """One form of a person's name, or a word for the person."""
        if form.startswith("^"):
            word = person.pronoun(form[1:])
            return Marked((word or "").capitalize())
        word = person.pronoun(form)
        return Marked(word) if word else mark(person.form(form or "full"), "NAME")

    def body(self, nodes: Sequence[Node]) -> Marked:
        """The text of one alternative."""
        parts: list[Value] = []
        for node in nodes:
            if isinstance(node, str):
                parts.append(node)
            elif node[0] == "symbol":
                parts.append(self.expand(str(node[1])))
            else:
                branches: list[list[Node]] = node[1]  # type: ignore[assignment]
                parts.append(self.body(self.rng.choice(branches)))
        return join(parts)

"""Brackets, braces, sets and environments of an answer, and what every part of the grammar needs of the others."""

from __future__ import annotations

from abc import ABC, abstractmethod

from verifiers.math.syntax import (
    Call,
    Group,
    Logic,
    Matrix,
    Node,
    Relation,
    SetBuilder,
    Sym,
    Text,
)
from verifiers.math.tokens import Cursor, Token, UnparsedError
from verifiers.math.vocabulary import CLOSERS


class Brackets(Cursor, ABC):
    """Reads what stands in brackets; the larger grammar is in `parser`."""

    @abstractmethod
    def item(self) -> Node:
        """One item of a list."""

    @abstractmethod
    def items(self, closers: tuple[str, ...]) -> tuple[list[Node], list[str]]:
        """Items up to one of `closers`, and the separators between them."""

    @abstractmethod
    def sum(self) -> Node:
        """A sum of products."""

    @abstractmethod
    def product(self) -> Node:
        """A product of powers."""

    @abstractmethod
    def power(self) -> Node:
        """A primary with its powers and marks."""

    @abstractmethod
    def signed_power(self) -> Node:
        """A power with a sign before it."""

    @abstractmethod
    def power_argument(self) -> Node:
        """What stands behind ^."""

    @abstractmethod
    def postfix(self, node: Node, *, factorial_only: bool = False) -> Node:
        """`node` with the marks behind it."""

    @abstractmethod
    def subscript(self, node: Node) -> Node:
        """`node` with its index."""

    @abstractmethod
    def primary(self) -> Node:
        """One primary, with the depth counted."""

    def sign(self, value: str) -> Node:
        """A bracket or a bar."""
        if value in "([":
            return self.bracketed(value)
        if value == "{":
            return self.plain_braces()
        if value == "|":
            self.no_bar += 1
            inner = self.item()
            self.no_bar -= 1
            self.expect("|")
            return Call("abs", (inner,))
        raise UnparsedError(f"{value!r} where a value should be")

    def plain_braces(self) -> Node:
        """Braces without backslashes: grouping, or a set in plain text."""
        if self.accept("}"):
            if self.position >= len(self.tokens) or self.position == 2:
                return Group("{", "}", ())
            return self.primary()
        subject, mark = self.peek(), self.peek(1)
        if (
            subject is not None
            and subject.kind == "word"
            and mark is not None
            and mark.value in ("|", "\\mid", ":")
        ):
            return self.set_braces("}")
        bar, self.no_bar = self.no_bar, 0
        items, separators = self.items(("}",))
        self.expect("}")
        self.no_bar = bar
        if len(items) == 1 and not separators:
            return items[0]
        return Group("{", "}", tuple(items))

    def bracketed(self, opener: str) -> Node:
        """What stands in parentheses or square brackets."""
        closers = CLOSERS[opener]
        bar, self.no_bar = self.no_bar, 0
        colon, self.no_colon = self.no_colon, 0
        if self.at(*closers):
            closer = self.take().value
            self.no_bar, self.no_colon = bar, colon
            return Group(opener, closer, ())
        items, separators = self.items(closers)
        closer = self.expect(*closers)
        self.no_bar, self.no_colon = bar, colon
        if (
            len(items) == 1
            and not separators
            and opener in ("(", "[")
            and (opener, closer) in (("(", ")"), ("[", "]"))
        ):
            inner = items[0]
            # Parentheses around a sum are not needed in a tree; around a relation they are a group of one.
            return inner if not isinstance(inner, (Group,)) else Group(opener, closer, (inner,))
        if len(items) != 2 and closer != CLOSERS[opener][0]:
            raise UnparsedError(f"{opener!r} closed by {closer!r}")
        return Group(opener, closer, tuple(items))

    def set_braces(self, closer: str = "\\}") -> Node:
        """What stands between \\{ and \\}: items, or a subject and its condition."""
        if self.accept(closer):
            return Group("{", "}", ())
        outer = self.no_bar, self.no_colon
        self.no_bar = self.no_colon = 1
        items, _ = self.items((closer, "|", "\\mid", ":"))
        if self.accept("|", "\\mid", ":"):
            self.no_bar = self.no_colon = 0
            subject = items[0] if len(items) == 1 else Group("", "", tuple(items))
            conditions, words = self.items((closer,))
            self.expect(closer)
            self.no_bar, self.no_colon = outer
            operator = "or" if "or" in words else "and"
            condition = conditions[0] if len(conditions) == 1 else Logic(operator, tuple(conditions))
            return SetBuilder(subject, condition)
        self.expect(closer)
        self.no_bar, self.no_colon = outer
        return Group("{", "}", tuple(items))

    def argument(self) -> Node:
        """A TeX argument: braces, or the next token (\\frac12 takes one digit)."""
        if self.at("{"):
            return self.braced()
        token = self.peek()
        if token is not None and token.kind == "number" and len(token.value) > 1 and token.value.isdigit():
            self.tokens[self.position : self.position + 1] = [
                Token("number", token.value[0], token.spaced), Token("number", token.value[1:], False)
            ]  # fmt: skip
        if token is not None and token.kind == "word" and len(token.value) > 1:
            self.tokens[self.position : self.position + 1] = [
                Token("word", token.value[0], token.spaced), Token("word", token.value[1:], False)
            ]  # fmt: skip
            return Sym(self.take().value)
        return self.primary()

    def environment(self) -> Node:
        """A matrix environment."""
        self.expect("{")
        name = ""
        while not self.at("}"):
            name += self.take().value
        self.expect("}")
        if name not in (
            "pmatrix",
            "bmatrix",
            "matrix",
            "vmatrix",
            "Bmatrix",
            "array",
            "smallmatrix",
            "cases",
        ):
            raise UnparsedError(f"the environment {name!r}")
        if name == "array" and self.at("{"):
            while not self.accept("}"):
                self.position += 1
                if self.peek() is None:
                    raise UnparsedError("an open array")
        if name == "cases":
            return self.cases()
        bar, self.no_bar = self.no_bar, 0
        rows: list[list[Node]] = [[]]
        while not self.at("\\end"):
            if self.accept("\\\\"):
                rows.append([])
            elif self.accept("&") or self.accept("\\hline"):
                continue
            else:
                rows[-1].append(self.item())
            if sum(map(len, rows)) > 900:
                raise UnparsedError("a matrix of more than 900 cells")
        self.no_bar = bar
        self.position += 1
        self.expect("{")
        while not self.accept("}"):
            self.take()
        if rows and not rows[-1]:
            rows.pop()
        if not rows or not rows[0] or len({len(row) for row in rows}) != 1:
            raise UnparsedError("a matrix with rows of different length")
        matrix = Matrix(tuple(tuple(row) for row in rows))
        return Call("det", (matrix,)) if name == "vmatrix" else matrix

    def cases(self) -> Node:
        """A system of equations, or a function in pieces, behind one brace."""
        rows: list[list[Node]] = [[]]
        self.in_cells = True
        while not self.at("\\end"):
            if self.accept("\\\\"):
                rows.append([])
            elif self.accept("&"):
                continue
            elif self.text_in({"otherwise", "else"}):
                self.position += 1
                rows[-1].append(Text("otherwise"))
            else:
                if self.text_in({"if", "when", "for", "where"}):
                    self.position += 1
                items, _ = self.items(("&", "\\\\", "\\end"))
                rows[-1] += items
            if len(rows) > 20:
                raise UnparsedError("more than 20 cases")
        self.in_cells = False
        self.position += 1
        self.expect("{")
        while not self.accept("}"):
            self.take()
        filled = [row for row in rows if row]
        if filled and all(len(row) == 1 for row in filled):
            return Group("", "", tuple(row[0] for row in filled)) if len(filled) > 1 else filled[0][0]
        if filled and all(len(row) == 2 and isinstance(row[1], (Relation, Text)) for row in filled):
            return Call("cases", tuple(part for row in filled for part in row))
        raise UnparsedError("cases of different length")

    def braced(self) -> Node:
        """What stands in braces."""
        self.expect("{")
        if self.accept("}"):
            raise UnparsedError("empty braces")
        if self.at("\\circ") and (closing := self.peek(1)) is not None and closing.value == "}":
            self.position += 2
            return Sym("\\circ")
        if self.at("\\prime"):
            self.position += 1
            while self.accept("\\prime"):
                pass
            self.expect("}")
            return Sym("\\prime")
        node = self.item()
        self.expect("}")
        return node

    def leading_sign(self) -> list[str]:
        """The signs before a term."""
        signs: list[str] = []
        while self.at("+", "-", "\\pm", "\\mp"):
            signs.append(self.take().value)
            if self.at("/") and signs[-1] == "+":
                # "+/-" in plain text.
                self.position += 1
                self.expect("-")
                signs[-1] = "\\pm"
            if len(signs) > 8:
                raise UnparsedError("a row of signs")
        return signs

"""Quantities of an answer: units behind values, scale words, temperatures, minutes of arc."""

from __future__ import annotations

from fractions import Fraction

from verifiers.math.primaries import Primaries
from verifiers.math.syntax import Call, Node, Num, Quantity
from verifiers.math.tokens import Token, UnparsedError
from verifiers.math.units import RAW_UNITS, convert, parse_unit
from verifiers.math.vocabulary import CURRENCY_NAMES, FUNCTIONS, NAMES, SCALES, SEPARATORS, STOP_WORDS

_BELOW = frozenset({"s", "h", "m", "L", "l", "g", "J", "K"})
"""Letters that are units below a stroke."""


class Quantities(Primaries):
    """Reads what stands behind a value and says what it measures."""

    def hoist_unit(self, node: Node) -> Node:
        """A unit behind the last term of a sum belongs to the sum."""
        if isinstance(node, Call) and node.head in ("add", "neg", "pm"):
            last = node.args[-1]
            if isinstance(last, Call) and last.head == "neg" and isinstance(last.args[0], Quantity):
                inner = last.args[0]
                return Quantity(Call(node.head, (*node.args[:-1], Call("neg", (inner.value,)))), inner.unit)
            if isinstance(last, Quantity):
                return Quantity(Call(node.head, (*node.args[:-1], last.value)), last.unit)
        return node

    def scale(self) -> int | None:
        """What a word such as "million" multiplies by; what else its text says stays for the unit."""
        token = self.peek()
        if token is None or token.kind not in ("text", "word"):
            return None
        first, _, rest = token.value.strip().partition(" ")
        factor = SCALES.get(first.lower())
        if factor is not None:
            if rest:
                self.tokens[self.position] = Token(token.kind, rest, token.spaced)
            else:
                self.position += 1
        return factor

    def behind_unit(self, quantity: Quantity) -> Node:
        """Nothing, or a smaller unit of the same kind: 3 hours 30 minutes."""
        if not self.starts_factor():
            return quantity
        following = self.peek()
        rest = self.product() if following is not None and following.kind == "number" else None
        if not isinstance(rest, Quantity):
            raise UnparsedError("something stands behind the unit")
        (kind, factor), (other, smaller) = convert(quantity.unit), convert(rest.unit)
        if kind != other or len(kind) != 1 or smaller >= factor:
            raise UnparsedError("two quantities stand side by side")
        if kind == (("money", 1),):
            # Dollars and cents are written in dollars.
            return Quantity(
                Call("add", (quantity.value, Call("mul", (rest.value, Num(smaller / factor))))), quantity.unit
            )
        whole = Call("mul", (quantity.value, Num(factor / smaller)))
        return Quantity(Call("add", (whole, rest.value)), rest.unit)

    def minutes(self, degrees: Call, minutes: Call) -> Node:
        """An angle of degrees and minutes of arc, and seconds where they follow."""
        parts: list[Node] = [degrees.args[0]]
        smaller = minutes.args[0]
        if not isinstance(smaller, Num) or not isinstance(parts[0], Num):
            raise UnparsedError("a prime behind something that is no number of minutes")
        parts.append(Call("div", (smaller, Num(Fraction(60)))))
        token = self.peek()
        if token is not None and token.kind == "number":
            seconds = self.power()
            if not (
                isinstance(seconds, Call) and seconds.head == "prime" and isinstance(seconds.args[0], Call)
            ):
                raise UnparsedError("a number behind minutes of arc")
            parts.append(Call("div", (seconds.args[0].args[0], Num(Fraction(3600)))))
        return Call("degree", (Call("add", tuple(parts)),))

    def unit(self) -> tuple[tuple[str, int], ...] | None:
        """A unit behind a value: text, or a raw word that can only be a unit."""
        start = self.position
        phrase: list[str] = []
        while (token := self.peek()) is not None:
            value = token.value.strip()
            if (
                token.kind == "text"
                and value.lower().split(" ")[0] not in STOP_WORDS
                and value.lower() not in SEPARATORS
                and value != "cis"
            ):
                if not phrase and len(value) == 1 and value in "eid":
                    break
                phrase.append(value)
            elif (
                (
                    token.kind == "word"
                    and (
                        value in RAW_UNITS
                        or (len(value) == 3 and value in CURRENCY_NAMES)
                        or (phrase and value in ("old", "ago"))
                        or value == "per"
                    )
                )
                or (
                    token.kind == "word"
                    and len(value) >= 4
                    and value.lower() not in STOP_WORDS | FUNCTIONS | NAMES.keys()
                )
                or (
                    token.kind == "word"
                    and not phrase
                    and value in ("square", "cubic", "sq", "percent", "pct", "percentage")
                )
            ) or (token.kind == "word" and value == "in" and not phrase and self.peek(1) is None):
                phrase.append(value)
            elif phrase and token.kind == "sign" and token.value == "^":
                self.position += 1
                exponent = self.power_argument()
                if not (isinstance(exponent, Num) and exponent.value.denominator == 1):
                    negative = (
                        isinstance(exponent, Call)
                        and exponent.head == "neg"
                        and isinstance(exponent.args[0], Num)
                    )
                    if not negative:
                        raise UnparsedError("a unit with a power that is no number")
                    phrase.append("^-" + str(exponent.args[0].value))  # type: ignore[union-attr]
                    continue
                phrase.append("^" + str(exponent.value))
                continue
            elif phrase and token.kind in ("sign", "command") and token.value in ("/", "-", "\\cdot"):
                following = self.peek(1)
                if following is None or following.kind not in ("text", "word"):
                    break
                if following.kind == "word" and following.value not in RAW_UNITS | _BELOW:
                    break
                phrase.append("/" if token.value == "/" else "*")
                if following.value in _BELOW:
                    # km/h: behind a unit and a stroke a letter is a unit.
                    phrase.append(following.value)
                    self.position += 1
            else:
                break
            self.position += 1
        if not phrase:
            return None
        text = " ".join(phrase)
        if text.lower() in ("percent", "pct", "percentage", "per cent"):
            return (("%", 1),)
        unit = parse_unit(text)
        if unit is None:
            self.position = start
        return unit

    def temperature(self, degrees: Node) -> Node:
        """Degrees Celsius or Fahrenheit, where the letter follows the sign; else the angle."""
        token = self.peek()
        scale = token.value.strip() if token is not None and token.kind in ("text", "word") else ""
        if scale in ("C", "F") and isinstance(degrees, Call) and degrees.head == "degree":
            self.position += 1
            return Quantity(degrees.args[0], ((scale, 1),))
        return degrees

"""Whether an answer is the gold answer: from equal text over exact numbers to structures and expressions.

Every rule consumes both sides whole. Where no rule decides, the outcome is "can't tell", never "equal".
"""

from __future__ import annotations

import itertools
import re
from fractions import Fraction

from verifiers.math import compare
from verifiers.math.counting import number_word, ordinal
from verifiers.math.dates import same_date, same_time, time_of
from verifiers.math.evidence import evidence
from verifiers.math.naming import PARAMETERS
from verifiers.math.normalisation import canonical_latex, squeezed
from verifiers.math.numbers import parse_rational, rounds_to
from verifiers.math.parser import UnparsedError, parse
from verifiers.math.structures import Decider, Outcome
from verifiers.math.syntax import Node, Num, Relation, Sym, substitute, variables, walk
from verifiers.math.text import (
    Declaration,
    choice,
    choices,
    circled,
    is_wordy,
    joined_choices,
    plain,
    same_words,
    sentence_says,
    split_declaration,
    synonym,
    without_qualifier,
    without_statement,
    yes_or_no,
)
from verifiers.math.values import Options
from verifiers.math.work import ExhaustedError, start_budget

__all__ = ["UNREADABLE", "Options", "Outcome", "decide"]

UNREADABLE = "unparsed"


_LONGEST_TEXT = 20_000


_EXACTLY = Options()
_ANNOUNCED = re.compile(
    r"^\\text\s*\{\s*(?:(?:so|thus|hence|therefore),? )?(?:the )?(?:final |correct )?answer(?: is)?\s*[:=]?\s*\}"
    r"\s*(?=\S)",
    re.IGNORECASE,
)


def decide(answer: str, gold: str, options: Options = _EXACTLY) -> Outcome:
    """Compare an extracted answer with a gold answer. Bounded work, whatever the texts are."""
    start_budget()
    evidence.start()
    try:
        return _decide(answer, gold, options)
    except ExhaustedError:
        return Outcome(None, "undecided", "the comparison was given up after a fixed amount of work")
    except RecursionError:
        return Outcome(None, "undecided", "nested too deeply to compare")


def _decide(answer: str, gold: str, options: Options) -> Outcome:
    if answer.strip() == gold.strip() and gold.strip():
        return Outcome(True, "same_text", "the answer is the gold answer, letter for letter")
    left, right = parse_rational(answer.strip()), parse_rational(gold.strip())
    if left is not None and right is not None and "%" not in answer + gold:
        return _numbers(left, right, answer, gold, options)
    if max(len(answer), len(gold)) > _LONGEST_TEXT:
        return Outcome(None, UNREADABLE, "too long to be read as mathematics")
    ours, theirs = _ANNOUNCED.sub("", canonical_latex(answer)), canonical_latex(gold)
    if not ours:
        return Outcome(None, UNREADABLE, "the answer is empty")
    if squeezed(ours) == squeezed(theirs) or squeezed(plain(ours)) == squeezed(plain(theirs)):
        return Outcome(True, "same_text", "the answer is the gold answer in another spelling")
    ours, theirs = number_word(ours) or ours, number_word(theirs) or theirs
    if ours and theirs:
        found = _in_words(ours, theirs)
        if found is not None:
            return found
    return _parsed(ours, theirs, options)


def _numbers(left: Fraction, right: Fraction, answer: str, gold: str, options: Options) -> Outcome:
    if left == right:
        return Outcome(True, "exact_number", "the same number")
    ours, theirs = _as_num(left, answer), _as_num(right, gold)
    if compare.long_decimal(ours, theirs) and compare.same_value(ours, theirs):
        return Outcome(True, "long_decimal", "the same value to every digit but the last")
    if options.rounding and rounds_to(left, theirs):
        return Outcome(True, "rounding", f"rounds to {gold} at the digits given")
    return Outcome(False, "exact_number", f"{answer.strip()[:80]} is not {gold.strip()[:80]}")


def _as_num(value: Fraction, text: str) -> Num:
    found = re.fullmatch(r"[-+−–]?\s*([\d,]*)\.(\d+)", text.strip())
    if not found:
        return Num(value)
    return Num(value, len((found[1] + found[2]).replace(",", "").lstrip("0")), len(found[2]))


def _in_words(ours: str, theirs: str) -> Outcome | None:
    """Choice letters, fixed phrases, and sentences."""
    counted = ordinal(ours), ordinal(theirs)
    if counted[0] is not None or counted[1] is not None:
        # The third, or number 3; a third is no ordinal of the other side.
        places = [
            place if place is not None else parse_rational(text)
            for place, text in zip(counted, (ours, theirs), strict=True)
        ]
        if None not in places:
            same = places[0] == places[1]
            return Outcome(same, "ordinal", "the same place" if same else "another place")
    wanted, chosen = choice(theirs), choice(ours)
    if wanted is not None and chosen is not None:
        same = wanted[0] == chosen[0] and (not wanted[1] or not chosen[1] or same_words(wanted[1], chosen[1]))
        if same:
            return Outcome(True, "choice", f"the option {wanted[0]}")
        if (wanted[1] and not chosen[1]) or (chosen[1] and not wanted[1]):
            return Outcome(False, "choice", f"{chosen[0]} is not the option {wanted[0]}")
    if wanted is None and chosen is not None and chosen[1] and parse_rational(chosen[1]) is not None:
        # "(B) 12" where the gold is the value.
        same = parse_rational(chosen[1]) == parse_rational(plain(theirs))
        return Outcome(same, "choice", f"the option {chosen[0]} with its value")
    if wanted is not None and wanted[1] and chosen is None and same_words(wanted[1], ours):
        return Outcome(True, "choice", f"the text of the option {wanted[0]}")
    several = choices(ours), choices(theirs)
    if (several[0] is None) != (several[1] is None):
        several = several[0] or joined_choices(ours), several[1] or joined_choices(theirs)
    if several[0] is not None and several[1] is not None:
        return Outcome(
            several[0] == several[1],
            "choices",
            "the same options" if several[0] == several[1] else "other options",
        )
    numbered = circled(ours), circled(theirs)
    if numbered[0] is not None and numbered[1] is not None:
        same = numbered[0] == numbered[1]
        return Outcome(same, "choices", "the same statements" if same else "other statements")
    if {plain(ours).lower(), plain(theirs).lower()} in ({"t", "true"}, {"f", "false"}):
        return Outcome(True, "phrase", "the same truth value")
    meaning = synonym(ours), synonym(theirs)
    if meaning[0] is not None and meaning[0] == meaning[1]:
        return Outcome(True, "phrase", f"both say {meaning[0]}")
    if (same_day := same_date(ours, theirs)) is not None:
        return Outcome(same_day, "date", "the same date" if same_day else "another date")
    judged = yes_or_no(ours), yes_or_no(theirs)
    if judged[0] and judged[1] and (meaning[0] or meaning[1]):
        same = judged[0] == judged[1]
        return Outcome(same, "phrase", f"the answer says {judged[0]}, the gold {judged[1]}")
    if sentence_says(theirs, ours) or sentence_says(ours, theirs):
        return Outcome(True, "sentence", "the sentence says this and nothing else")
    wordy = is_wordy(ours), is_wordy(theirs)
    if all(wordy):
        if same_words(ours, theirs):
            return Outcome(True, "same_words", "the same words")
        if any(character.isdigit() for character in ours) and any(
            character.isdigit() for character in theirs
        ):
            return None
        return Outcome(None, "undecided", "two phrases that are not the same")
    return None


_LABEL = re.compile(r"\\text\s*\{\s*[A-Z][a-z]{3,}(?: \d+)?\s*[:=]\s*\}|\b[A-Z][a-z]{3,}(?: \d+)?\s*[:=]\s*")


def _parsed(ours: str, theirs: str, options: Options) -> Outcome:
    """Parse both; where a comma may be read in two ways, some reading of each must agree."""
    if bool(_LABEL.search(ours)) != bool(_LABEL.search(theirs)):
        # "Maximum = 2, Minimum = 1" where the other side gives the values without labels.
        ours, theirs = _LABEL.sub("", ours), _LABEL.sub("", theirs)
    times = time_of(ours), time_of(theirs)
    if times[0] is not None and times[1] is not None:
        same = same_time(times[0], times[1])
        return Outcome(same, "time", "the same time" if same else "another time")
    (ours, said), (theirs, wanted) = split_declaration(ours), split_declaration(theirs)
    if said and wanted and said.domain != wanted.domain:
        return Outcome(
            None, "undecided", f"the letters are {said.domain} here and {wanted.domain} in the gold"
        )
    left, left_fault = _readings(ours, decimal_comma="." in theirs)
    right, right_fault = _readings(theirs)
    if (said is None) != (wanted is None):
        declaration, trees = (said, left) if said else (wanted, right)
        assert declaration is not None
        if any(_restricts(tree, declaration) for tree in trees):
            return Outcome(None, "undecided", "only one side says which numbers the letters are")
    if not right and (shorter := without_statement(theirs)) != theirs:
        right, right_fault = _readings(shorter)
    if not left or not right:
        plainer = without_qualifier(ours), without_qualifier(theirs)
        qualifiers = [squeezed(text[len(rest) :]) for text, rest in zip((ours, theirs), plainer, strict=True)]
        if all(qualifiers) and qualifiers[0] != qualifiers[1]:
            return Outcome(None, "undecided", "the two say different things of their letters")
        left = left or (_readings(plainer[0])[0] if qualifiers[0] and plainer[0] else [])
        right = right or (_readings(plainer[1])[0] if qualifiers[1] and plainer[1] else [])
    if not right:
        return Outcome(None, "undecided", f"the gold answer can't be read as mathematics: {right_fault}")
    if not left:
        return Outcome(None, UNREADABLE, f"the answer can't be read as mathematics: {left_fault}")
    if said and wanted and len(said.letters) == len(wanted.letters) == 1 and said.letters != wanted.letters:
        left = [_renamed(tree, said, wanted) for tree in left]
    best = Outcome(None, "undecided", "can't tell")
    for index, (a, b) in enumerate(itertools.product(left, right)):
        found = Decider(options).decide(a, b)
        if found.equal:
            return found
        if index == 0 or best.equal is None:
            best = found
    return best


def _renamed(tree: Node, said: Declaration, wanted: Declaration) -> Node:
    """The tree with the declared parameter under the gold's name: k in Z for n in Z."""
    (ours,), (theirs,) = said.letters, wanted.letters
    used = {node.name for node in walk(tree) if isinstance(node, Sym)}
    return tree if theirs in used else substitute(tree, {ours: Sym(theirs)})


def _restricts(tree: Node, declaration: Declaration) -> bool:
    """Whether a declaration says more than what a parameter usually is: x > 2 with x in Z is no interval."""
    if declaration.domain == "reals":
        return False
    if not declaration.letters <= PARAMETERS | {"a", "b", "c", "t"}:
        return True
    orders = {"<", "<=", ">", ">=", "!="}
    return any(
        isinstance(node, Relation)
        and orders & set(node.operators)
        and declaration.letters & set().union(*map(variables, node.terms))
        for node in walk(tree)
    )


def _readings(text: str, *, decimal_comma: bool = False) -> tuple[list[Node], str]:
    trees: list[Node] = []
    fault = ""
    # "1,000" is no list of 1 and 000.
    listed = re.search(r"\d,\d{3}", text) and not re.search(r"\d,0\d\d(?!\d)", text)
    for thousands in (True, False) if listed else (True,):
        try:
            tree = parse(text, thousands=thousands)
        except UnparsedError as error:
            fault = str(error)
            continue
        except RecursionError:
            return [], "nested too deeply"
        if tree not in trees:
            trees.append(tree)
    # 2,74 where the other side writes 2.74; a list is the other reading.
    if decimal_comma and re.fullmatch(r"-?\d+,\d{1,2}|-?\d+,\d{4,}", text):
        trees.append(Num(Fraction(text.replace(",", ".")), len(text), len(text.split(",")[1])))
    return trees, fault

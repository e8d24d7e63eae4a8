"""Duplicates and contamination: numbers are content, wording is not; datasketch and labelled pairs as oracles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from datasketch import LeanMinHash, MinHash, MinHashLSH
from hypothesis import given
from hypothesis import strategies as st

from curation import CurateConfig, curate, load_curated, read_lineage
from curation.compare import Comparable
from curation.config import FilterConfig
from curation.decontaminate import BenchmarkIndex, prepare, relate
from curation.duplicates import find_duplicates
from curation.minhash import MinHasher, ngram_hashes
from curation.text import repair
from tests.shared_data import shared_rows

SAME = [
    ("What is 3+5-2?", "Compute 3+5-2."),
    ("What is 3+5-2?", "3 + 5 - 2 = ?"),
    (r"Evaluate $\frac{1}{2}+\frac13$.", r"What is \dfrac{1}{2} + \frac{1}{3}?"),
    ("Find the sum of the first 1,000 odd numbers.", "What is the sum of the first $1000$ odd numbers?"),
    (r"Find $x y+z$ if $x \leq 2$.", r"Determine \(xy + z\) if \(x\leqslant 2\)."),
]
OTHER = [
    ("What is 3+5-2?", "What is 3-5+2?"),
    ("What is 3+5-2?", "What is 3+5-3?"),
    ("What is 3+5-2?", "What is 13+5-2?"),
    ("Find the largest n with n! below 1000.", "Find the smallest n with n! below 1000."),
    (
        "A drawer contains ten yellow socks, eight blue socks and four pink socks; pick 2 pairs.",
        "A drawer contains ten yellow socks, eight blue socks and one hundred pink socks; pick 2 pairs.",
    ),
    ("A shop sells 3 red pens for 5 dollars.", "A shop sells 4 red pens for 5 dollars."),
]


def groups(texts: list[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return find_duplicates(texts, texts.__getitem__).parent


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_question_in_other_words_is_a_duplicate(one: str, other: str) -> None:
    assert groups([one, other]).tolist() == [0, 0]


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_another_question_in_the_same_words_is_none(one: str, other: str) -> None:
    assert groups([one, other]).tolist() == [0, 1]


def test_variants_of_a_template_share_it_and_stay_apart() -> None:
    found = find_duplicates(texts := ["What is 3+5?", "What is 4+5?", "How many are 4?"], texts.__getitem__)
    assert found.parent.tolist() == [0, 1, 2]
    assert found.template.tolist() == [0, 0, 2]


def test_minhash_estimates_jaccard_as_datasketch_does() -> None:
    texts = [Comparable.of(row["problem"]).squeezed for row in shared_rows("raw/svamp.jsonl.gz")[:150]]
    hasher = MinHasher(bands=64, rows=4)
    signatures = hasher.minima(texts)
    theirs = []
    for text in texts:
        signature = MinHash(num_perm=256)
        padded = text + "\0" * 4
        signature.update_batch({padded[at : at + 5].encode() for at in range(len(text))})
        theirs.append(signature)
    grams = [set(ngram_hashes([text])[0].tolist()) for text in texts]
    errors, their_errors = [], []
    for i in range(len(texts)):
        for j in range(i):
            exact = len(grams[i] & grams[j]) / len(grams[i] | grams[j])
            if exact > 0.1:
                errors.append(float((signatures[i] == signatures[j]).mean()) - exact)
                their_errors.append(theirs[i].jaccard(theirs[j]) - exact)
    assert len(errors) > 100
    assert np.std(errors) < 1.5 * np.std(their_errors)
    assert abs(np.mean(errors)) < 0.02


def test_candidates_are_those_of_datasketchs_index_for_the_same_signatures() -> None:
    texts = [Comparable.of(row["problem"]).squeezed for row in shared_rows("raw/svamp.jsonl.gz")]
    hasher = MinHasher(seed=1)
    index = MinHashLSH(num_perm=hasher.bands * hasher.rows, params=(hasher.bands, hasher.rows))
    theirs = set()
    for number, values in enumerate(hasher.minima(texts).astype(np.uint64)):
        signature = LeanMinHash(seed=1, hashvalues=values, scheme="legacy")
        theirs.update((int(other), number) for other in index.query(signature))
        index.insert(number, signature)
    ours = set()
    for keys in hasher.band_keys(texts).T.tolist():
        buckets: dict[int, list[int]] = {}
        for number, key in enumerate(keys):
            ours.update((other, number) for other in buckets.get(key, ()))
            buckets.setdefault(key, []).append(number)
    assert ours == theirs
    assert len(ours) > 1000


@given(st.lists(st.text(alphabet="abcd123", max_size=12), min_size=1, max_size=8))
def test_ngrams_of_a_batch_are_those_of_each_text(texts: list[str]) -> None:
    hashes, starts = ngram_hashes(texts)
    parts = np.split(hashes, starts[1:])
    for text, part in zip(texts, parts, strict=True):
        assert part.tolist() == ngram_hashes([text])[0].tolist()


@pytest.mark.parametrize(("one", "other"), [*SAME, ("Is it 7?", "Is it 7?")])
def test_contamination_is_found_in_other_words(one: str, other: str) -> None:
    assert relate(prepare(one), prepare(other))[0] == "same"
    (match,) = BenchmarkIndex([other, "Something else about 12 triangles."]).match([repair(one).text])
    assert match is not None
    assert (match.relation, match.item) == ("same", 0)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_a_variant_is_no_contamination(one: str, other: str) -> None:
    assert relate(prepare(one), prepare(other))[0] != "same"


def test_an_integer_transformed_copy_is_found() -> None:
    item = "A die is rolled twice. What is the probability that the sum of the two numbers is at least 9?"
    copy = (
        item
        + r" The answer is in the form \frac{m}{n}, where gcd(m, n) = 1. Please provide the value of m + n."
    )
    assert relate(prepare(copy), prepare(item))[0] == "same"


def test_labelled_pairs_reach_the_stated_precision_and_recall() -> None:
    pairs = shared_rows("curation/contamination_pairs.jsonl.gz")
    found = [
        relate(prepare(pair["train_problem"]), prepare(pair["eval_problem"]))[0] == "same" for pair in pairs
    ]
    labels = [pair["label"] == "same" for pair in pairs]
    both = sum(one and other for one, other in zip(found, labels, strict=True))
    assert both / sum(found) >= 0.95
    assert both / sum(labels) >= 0.95


def conflict_fates(tmp_path: Path, golds: list[str], settle: str) -> list[str]:
    raw = tmp_path / "raw.jsonl"
    rows = [{"problem": "What is 17*3?", "answer": gold} for gold in golds]
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = CurateConfig.model_validate(
        {"inputs": [str(raw)], "output": tmp_path / "set", "duplicates": {"conflicts": settle}, "workers": 1}
    )
    curate(config)
    return [line.reason.partition(":")[0] or "kept" for line in read_lineage(tmp_path / "set")]


@pytest.mark.parametrize(
    ("golds", "settle", "fates"),
    [
        (["51", "51.0", "51"], "drop", ["kept", "exact duplicate", "exact duplicate"]),
        (["51", "52"], "drop", ["conflicting golds", "conflicting golds"]),
        (["52", "51", "51"], "majority", ["outvoted gold", "kept", "exact duplicate"]),
        (["51", "52"], "majority", ["conflicting golds", "conflicting golds"]),
        (["51", "52"], "first", ["kept", "outvoted gold"]),
    ],
)
def test_conflicting_golds_are_settled_as_asked(
    tmp_path: Path, golds: list[str], settle: str, fates: list[str]
) -> None:
    assert conflict_fates(tmp_path, golds, settle) == fates


def test_known_conflicts_are_reported_where_the_question_is_the_same(tmp_path: Path) -> None:
    pairs = shared_rows("curation/gold_conflicts.jsonl.gz")
    raw = tmp_path / "pairs.jsonl"
    with raw.open("w") as lines:
        for pair in pairs:
            for side in "ab":
                row = {"problem": pair[f"problem_{side}"], "answer": str(pair[f"gold_{side}"])}
                lines.write(json.dumps(row) + "\n")
    curate(CurateConfig(inputs=[str(raw)], output=tmp_path / "set", filters=FilterConfig(drop=[]), workers=1))
    reasons = [line.reason for line in read_lineage(tmp_path / "set")]
    found = sum(
        any(
            "conflicting golds" in reason or "impossible gold" in reason
            for reason in reasons[2 * n : 2 * n + 2]
        )
        for n in range(len(pairs))
    )
    # The other ten ask for different things in nearly the same words.
    assert found >= 43


def test_a_near_text_with_another_gold_stays_and_names_its_neighbour(tmp_path: Path) -> None:
    text = (
        "Let (x, y) be an ordered pair of real numbers that satisfies the equation x^2 + y^2 = 14x + 48y. "
        "What is the minimum value of {}?"
    )
    raw = tmp_path / "raw.jsonl"
    rows = [
        {"id": "first", "problem": text.format("x"), "answer": "-18"},
        {"id": "second", "problem": text.format("y"), "answer": "-1"},
    ]
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = curate(CurateConfig(inputs=[str(raw)], output=tmp_path / "set", workers=1))
    first, second = load_curated(tmp_path / "set")
    assert "similar_to" not in first.extra
    assert second.extra["similar_to"] == first.lineage[0]
    duplicates = next(report for report in result.funnel if report.name == "duplicates")
    assert duplicates.notes["near texts with another gold kept"] == 1


POSITIVE = "Let x, y, z be positive real numbers such that "
SIBLINGS = [
    (
        POSITIVE + "x + y + z = 1. Find the minimum value of 1/x + 1/y + 1/z.",
        POSITIVE + "xyz(x + y + z) = 1. Find the minimum value of (x + y)(y + z).",
    ),
    (
        "Let f(x) be an odd function. Is f(f(x)) even, odd, or neither?",
        "Let f(x) be an odd function. Is f(f(g(f(g(f(x)))))) even, odd, or neither?",
    ),
    (
        "A committee has 5 Democrats and 5 Republicans. If all politicians are distinguishable, in how many "
        "ways can they sit around a circular table without restrictions?",
        "A committee has 5 Democrats, 5 Republicans, and 1 Independent. In how many ways can they sit around a "
        "circular table if all the members of each party sit next to each other?",
    ),
]


@pytest.mark.parametrize(("one", "other"), SIBLINGS)
def test_a_sibling_with_its_own_formula_is_no_contamination(one: str, other: str) -> None:
    assert relate(prepare(one), prepare(other))[0] != "same"


def test_words_that_only_one_side_knows_do_not_oppose_it() -> None:
    item = "Kayla rolls four fair 6-sided dice and adds up. Find the probability that the sum is greater than 20."
    copy = item + " What is the denominator minus the numerator of this probability?"
    assert relate(prepare(copy), prepare(item))[0] == "same"


def test_names_of_an_answers_parts_make_no_sibling() -> None:
    item = r"Let $M$ be the midpoint of $AB$ in regular tetrahedron $ABCD$. $\frac{p}{q}=\cos(\angle CMD)$ is an "
    item += r"irreducible fraction, what is the value of $p+q$?"
    copy = r"Let $M$ be the midpoint of $AB$ in regular tetrahedron $ABCD$. Find the value of $\cos(\angle CMD)$."
    assert relate(prepare(copy), prepare(item))[0] == "same"


def test_a_bare_expression_is_found_inside_another_request() -> None:
    item = r"$\frac{m}{n}$ is the irreducible value of \[3+\frac{1}{3+\frac{1}{3+\frac13}}\], what is $m+n$?"
    copy = r"What is the value of $$3+\frac{1}{3+\frac{1}{3+\frac{1}{3}}}?$$"
    assert relate(prepare(copy), prepare(item))[0] == "same"
    longer = r"What is the value of $$5+\frac{1}{3+\frac{1}{3+\frac{1}{3+\frac{1}{3}}}}?$$"
    assert relate(prepare(longer), prepare(item))[0] != "same"

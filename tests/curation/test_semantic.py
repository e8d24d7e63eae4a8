"""Semantic duplicates, with a real sentence-transformers model that is made on the fly."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from curation import CurateConfig, curate, load_curated, read_lineage
from curation.semantic import encoder_identity
from verifiers import InputError

PROBLEMS = [
    # The same three words decide the embedding; the wording around them differs.
    ("Tom bought 12 apples and ate 5 apples. Count the remaining apples.", "7"),
    ("Of the 12 apples that Tom bought, 5 apples got eaten: how many apples has he left over?", "7"),
    # A variant of the first: same text, other numbers.
    ("Tom bought 19 apples and ate 6 apples. Count the remaining apples.", "13"),
    # As close to the first as the second, with another gold.
    ("Tom, apples: 12 apples here, 5 apples there. Which count of apples do both places hold?", "17"),
    # Far from all.
    ("A triangle has angles of 12 and 5 degrees. Find its third angle.", "163"),
]


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    models = pytest.importorskip("sentence_transformers.models")
    bag = models.BoW(vocab=["tom", "apples", "triangle", "angles"])
    sentence_transformers.SentenceTransformer(modules=[bag], device="cpu").save(str(tmp_path / "encoder"))
    return tmp_path / "encoder"


def raw_set(folder: Path) -> Path:
    lines = [json.dumps({"problem": problem, "answer": answer}) + "\n" for problem, answer in PROBLEMS]
    (folder / "raw.jsonl").write_text("".join(lines))
    return folder / "raw.jsonl"


def settings(tmp_path: Path, semantic: str) -> CurateConfig:
    return CurateConfig.model_validate(
        {
            "inputs": [str(raw_set(tmp_path))],
            "output": tmp_path / "set",
            "duplicates": {"semantic": semantic, "semantic_threshold": 0.9},
            "workers": 1,
        }
    )


def test_paraphrases_merge_and_variants_and_other_golds_stay(tmp_path: Path, encoder: Path) -> None:
    curate(settings(tmp_path, str(encoder)))
    lineage = list(read_lineage(tmp_path / "set"))
    assert [line.kept for line in lineage] == [True, False, True, True, True]
    dropped = lineage[1]
    assert dropped.reason.startswith("semantic duplicate: cosine 1.000 of ")
    assert dropped.problem_id == lineage[0].raw_id
    kept = {problem.problem.id: problem for problem in load_curated(tmp_path / "set")}
    assert kept[lineage[0].raw_id].lineage == (lineage[0].raw_id, dropped.raw_id)
    assert kept[lineage[3].raw_id].extra["similar_to"] == lineage[0].raw_id
    assert "similar_to" not in kept[lineage[2].raw_id].extra


def test_other_weights_under_the_same_name_are_another_model(tmp_path: Path, encoder: Path) -> None:
    curate(settings(tmp_path, str(encoder)))
    sentence_transformers = pytest.importorskip("sentence_transformers")
    models = pytest.importorskip("sentence_transformers.models")
    before = encoder_identity(str(encoder))
    assert before == encoder_identity(str(encoder))
    bag = models.BoW(vocab=["count", "remaining", "left", "triangle"])
    sentence_transformers.SentenceTransformer(modules=[bag], device="cpu").save(str(encoder))
    assert encoder_identity(str(encoder)) != before
    (tmp_path / "set" / "data.parquet").unlink()
    curate(settings(tmp_path, str(encoder)))
    assert "semantic duplicate" not in str([line.reason for line in read_lineage(tmp_path / "set")])


def test_without_a_model_paraphrases_stay(tmp_path: Path) -> None:
    curate(settings(tmp_path, ""))
    assert all(line.kept for line in read_lineage(tmp_path / "set"))


def test_a_missing_package_and_a_missing_model_are_one_line_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("sentence_transformers"):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(InputError, match=r"can't load '.*no-such-model'.*") as error:
            curate(settings(tmp_path, str(tmp_path / "no-such-model")))
        assert "\n" not in str(error.value)
    monkeypatch.setattr("curation.semantic.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'rlvr\[semantic\]'"):
        curate(settings(tmp_path, "any"))

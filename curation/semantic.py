"""Semantic duplicates: paraphrases, found by the cosine of sentence embeddings.

Embeddings are nearly blind to numbers and to opposed words, so closeness alone merges nothing: the two texts must
hold the same numbers, must not be variants of one template, and must not ask for opposite things. The caller
compares golds. Needs sentence-transformers.

Memory: 4 bytes per text and dimension. Time: quadratic in the number of texts, as blocks of one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from curation.compare import Comparable, opposed
from curation.files import digest, file_digest
from verifiers import InputError

BLOCK = 1024


class Encoder(Protocol):
    """What is used of a `SentenceTransformer`."""

    def encode(self, sentences: list[str], **options: Any) -> Any:
        """Embeddings [sentences, dimensions]."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """Weights by name."""
        ...


class Match(NamedTuple):
    """A text and an earlier one that means the same."""

    later: int
    earlier: int
    cosine: float


def require_encoder() -> None:
    """Raise `InputError` where sentence-transformers is missing."""
    if find_spec("sentence_transformers") is None:
        raise InputError(
            "duplicates.semantic needs sentence-transformers: pip install 'rlvr[semantic]', or leave it out"
        )


def load_encoder(model: str) -> Encoder:
    """The sentence-transformers model of that name or folder.

    Raises:
        InputError: the package is missing, or the model can't be loaded.
    """
    require_encoder()
    from sentence_transformers import SentenceTransformer

    try:
        encoder: Encoder = SentenceTransformer(model)
    except (OSError, ValueError) as error:
        why = str(error).strip().partition("\n")[0]
        raise InputError(f"duplicates.semantic: can't load {model!r}: {why}") from error
    return encoder


def encoder_identity(model: str) -> str:
    """Hash of what decides the embeddings: the files of a folder, the weights of a model by name.

    Raises:
        InputError: as `load_encoder` does.
    """
    folder = Path(model)
    if folder.is_dir():
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return digest("encoder", [[str(path.relative_to(folder)), file_digest(path)] for path in files])
    encoder = load_encoder(model)
    from rollout.fingerprint import weights_hash

    return digest("encoder", weights_hash(encoder.state_dict().items()))


def embed(texts: Iterator[str], encoder: Encoder) -> NDArray[np.float32]:
    """Unit embeddings [texts, dimensions], a block of texts in memory at a time."""
    blocks = []
    while batch := list(islice(texts, BLOCK)):
        vectors = np.asarray(encoder.encode(batch, show_progress_bar=False), dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        blocks.append(vectors / np.maximum(norms, 1e-12))
    return np.concatenate(blocks) if blocks else np.zeros((0, 1), np.float32)


def semantic_matches(
    vectors: NDArray[np.float32],
    template: Sequence[int],
    fetch: Callable[[int], str],
    threshold: float,
) -> Iterator[Match]:
    """Pairs that mean the same, by the later text, the closest earlier text first.

    Args:
        vectors: unit embeddings [texts, dimensions].
        template: names the template of each text; texts of one template are variants, never duplicates.
        fetch: gives the text of an index.
        threshold: least cosine.
    """
    for start in range(0, len(vectors), BLOCK):
        cosines = vectors[start : start + BLOCK] @ vectors[: start + BLOCK].T
        for offset, row in enumerate(cosines):
            index = start + offset
            near = np.flatnonzero(row[:index] >= threshold)
            if not near.size:
                continue
            text = Comparable.of(fetch(index))
            for earlier in near[np.argsort(-row[near], kind="stable")].tolist():
                if template[earlier] == template[index]:
                    continue
                other = Comparable.of(fetch(earlier))
                if sorted(other.numbers) == sorted(text.numbers) and not opposed(other, text):
                    yield Match(index, earlier, float(row[earlier]))

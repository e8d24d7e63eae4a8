"""Matrices: their cells, sums, products and multiples worked out."""

from __future__ import annotations

from verifiers.math.syntax import Call, Matrix, Node, walk


def mentions_matrix(node: Node) -> bool:
    """Whether a matrix occurs."""
    return any(isinstance(n, Matrix) for n in walk(node))


def vector_entries(rows: tuple[tuple[Node, ...], ...]) -> tuple[Node, ...] | None:
    """The entries of a single row or column; None for a true matrix."""
    if len(rows) == 1:
        return rows[0]
    if all(len(row) == 1 for row in rows):
        return tuple(row[0] for row in rows)
    return None


def matrix_cells(node: Node) -> tuple[tuple[Node, ...], ...] | None:
    """The cells of a matrix, or of a sum, product or multiple of matrices."""
    if isinstance(node, Matrix):
        return node.rows
    if not isinstance(node, Call) or not mentions_matrix(node):
        return None
    parts = [matrix_cells(arg) for arg in node.args]
    if node.head == "neg" and parts[0] is not None:
        return tuple(tuple(Call("neg", (cell,)) for cell in row) for row in parts[0])
    if node.head == "add":
        if any(part is None for part in parts):
            return None
        matrices = [part for part in parts if part is not None]
        if len({(len(m), len(m[0])) for m in matrices}) != 1:
            return None
        return tuple(
            tuple(Call("add", tuple(m[i][j] for m in matrices)) for j in range(len(matrices[0][0])))
            for i in range(len(matrices[0]))
        )
    if node.head in ("mul", "div"):
        left, right = parts
        if left is not None and right is not None and node.head == "mul":
            if len(left[0]) != len(right) or len(left) * len(right[0]) * len(right) > 1000:
                return None
            columns = list(zip(*right, strict=True))
            return tuple(
                tuple(
                    Call("add", tuple(Call("mul", pair) for pair in zip(row, column, strict=True)))
                    for column in columns
                )
                for row in left
            )
        if left is not None and right is None:
            return tuple(tuple(Call(node.head, (cell, node.args[1])) for cell in row) for row in left)
        if right is not None and node.head == "mul":
            return tuple(tuple(Call("mul", (node.args[0], cell)) for cell in row) for row in right)
    return None

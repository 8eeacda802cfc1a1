"""Fingerprints: of a Design (two of them fit the same where it is the same), and of the workbench's own code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from workbench.design import Design


def design_hash(design: Design) -> str:
    """SHA-256 of what is fitted: y, X, blocks (Z, codes, levels), weights, offset, and family if not gaussian."""
    digest = hashlib.sha256()

    def add(name: str, value: np.ndarray | Sequence[str]) -> None:
        if isinstance(value, np.ndarray):
            kind = "<i8" if value.dtype.kind in "iu" else "<f8"
            content = np.ascontiguousarray(value, dtype=kind).tobytes()
            shape = value.shape
        else:
            content, shape = "\x00".join(value).encode(), (len(value),)
        digest.update(f"{name}{shape}:".encode())
        digest.update(content)

    add("y", design.y)
    add("X", design.X)
    add("fixed_terms", design.fixed_terms)
    for block in design.blocks:
        add(f"Z[{block.group}]", block.Z)
        add("codes", block.codes)
        add("levels", block.levels)
        add("terms", block.terms)
    add("weights", design.weights)
    add("offset", design.offset)
    if design.family != "gaussian":
        add("family", (design.family, design.link))
    return digest.hexdigest()


@cache
def code_hash() -> str:
    """SHA-256 of the package's own files, by name: what made a report, where versions are not enough to say."""
    root, digest = Path(__file__).parent, hashlib.sha256()
    names = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and "_models" not in path.parts
    )
    for name in names:
        digest.update(f"{name}:".encode() + (root / name).read_bytes())
    return digest.hexdigest()

"""A slow oracle: Henderson's mixed-model equations (1975, doi:10.2307/2529430) as one dense matrix, nothing clever."""

import numpy as np
from scipy.linalg import block_diag

from workbench.design import build_design


def wide(blocks, levels):
    """Z with one column per block, level and term from pairs (Z, codes); a code of -1 has zeros."""
    parts = []
    for (Z, codes), J in zip(blocks, levels, strict=True):
        part = np.zeros((len(Z), J, Z.shape[1]))
        rows = np.flatnonzero(codes >= 0)
        part[rows, codes[rows]] = Z[rows]
        parts.append(part.reshape(len(Z), -1))
    return np.hstack(parts)


def error_covariance(fit):
    """Covariance of (b_hat - b, u_hat - u), u by block, level and term, and that of u given y and b."""
    design, p = fit.design, len(fit.design.fixed_terms)
    Z = wide([(b.Z, b.codes) for b in design.blocks], [len(b.levels) for b in design.blocks])
    W = np.hstack([design.X, Z]) * np.sqrt(design.weights)[:, None] / fit.sigma
    roots = []
    for component, block in zip(fit.components, design.blocks, strict=True):
        values, vectors = np.linalg.eigh(component.covariance)  # u = root s, s ~ N(0, I): it may be singular
        roots.append(np.kron(np.eye(len(block.levels)), vectors * np.sqrt(np.clip(values, 0, None))))
    to_u = block_diag(np.eye(p), *roots)
    left = (W @ to_u).T @ (W @ to_u)
    left[p:, p:] += np.eye(Z.shape[1])
    inside = to_u[p:, p:] @ np.linalg.inv(left[p:, p:]) @ to_u[p:, p:].T
    return to_u @ np.linalg.inv(left) @ to_u.T, inside


def random_table(seed, n=60):
    rng = np.random.default_rng(seed)
    g, h, k = np.arange(n) % 6, rng.integers(0, 5, n), rng.integers(0, 4, n)
    x, z = rng.normal(3, 2, n), rng.normal(size=n)
    y = 2 + x - z + rng.normal(size=6)[g] + 0.6 * rng.normal(size=6)[g] * x + rng.normal(size=5)[h]
    y = y + 0.5 * rng.normal(size=4)[k] * z + rng.normal(size=n)
    return {"y": y, "x": x, "z": z, "g": g, "h": h, "k": k, "w": rng.uniform(0.5, 2, n), "o": rng.normal(size=n)}


RANDOM_TERMS = [
    "(1 | g)",
    "(x | g)",
    "(x || g)",
    "(1 | g) + (1 | h)",
    "(x | g) + (1 | h) + (0 + z | k)",
    "(1 | k) + (x || g) + (1 | g:h)",
    "(0 + z | g) + (z | h)",
]
"""One factor, several blocks of one, crossed and nested ones, and a column that varies without a population value."""


def random_design(terms, seed=0, known_se=False, fixed="x"):
    extra = {"se": "w"} if known_se else {"weights": "w"}
    return build_design(f"y ~ {fixed} + {terms} + offset(o)", random_table(seed), **extra)

"""Matrices in blocks against the same in one: rung slow oracle (the dense matrix), for designs that fall apart."""

import numpy as np
import pytest

from workbench.blocks import Blocks
from workbench.design import build_design
from workbench.estimators.reml import reml
from workbench.moments import moments
from workbench.prediction.predict import predict


def nested(seed, schools=9, weights=False):
    """Pupils in classes in schools; every third school has a single class, and halves cross its classes."""
    rng = np.random.default_rng(seed)
    classes = np.concatenate([np.full(1 if s % 3 == 0 else rng.integers(2, 5), s) for s in range(schools)])
    c = np.repeat(np.arange(len(classes)), rng.integers(3, 9, len(classes)))
    s, x = classes[c], rng.normal(size=len(c))
    y = 1 + x + rng.normal(size=schools)[s] * (1 + x) + rng.normal(size=len(classes))[c] + rng.normal(size=len(c))
    table = {"y": y, "x": x, "s": s, "c": c, "half": 2 * s + np.arange(len(c)) % 2}
    return table | ({"w": rng.uniform(0.5, 2, len(c))} if weights else {})


FORMULAS = {
    "nested": ("y ~ x + (1 | s/c)", False),
    "nested, a slope in the schools": ("y ~ x + (x | s) + (1 | s:c)", False),
    "nested, slopes in both": ("y ~ x + (x || s) + (x | s:c)", True),
    "three levels": ("y ~ x + (1 | s) + (1 | s:c) + (1 | s:c:half)", False),
    "crossed within schools": ("y ~ x + (1 | c) + (1 | half) + (0 + x | s)", True),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_blocks_and_a_dense_matrix_give_the_same_fit(formula, monkeypatch):
    text, weighted = FORMULAS[formula]
    design = build_design(text, nested(3, weights=weighted), weights="w" if weighted else None)
    dense = reml(design)
    errors = dense.standard_errors
    predicted = predict(dense, nested(4), new_levels="population") if not weighted else None
    assert moments(design).rest.blocks.whole
    monkeypatch.setattr("workbench.blocks.UNCUT", 0)
    monkeypatch.setattr("workbench.moments.FEW_CELLS", 0)
    monkeypatch.setattr("workbench.moments.MOST_CELLS", 1.0)
    assert moments(design).rest.blocks.count >= 4
    fit = reml(design)
    assert fit.criterion == pytest.approx(dense.criterion, abs=1e-9)
    for mine, theirs in zip(fit.components, dense.components, strict=True):
        np.testing.assert_allclose(mine.covariance, theirs.covariance, rtol=1e-7, atol=1e-12)
    for mine, theirs in zip(fit.group_effects, dense.group_effects, strict=True):
        np.testing.assert_allclose(mine.effect.estimate, theirs.effect.estimate, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(mine.effect.std_error, theirs.effect.std_error, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(mine.coefficient.std_error, theirs.coefficient.std_error, rtol=1e-6, atol=1e-9)
    for column in errors.select_dtypes("number"):
        np.testing.assert_allclose(fit.standard_errors[column], errors[column], rtol=1e-6, atol=1e-9)
    if predicted is not None:
        again = predict(fit, nested(4), new_levels="population")
        for column in predicted.select_dtypes("number"):
            np.testing.assert_allclose(again[column], predicted[column], rtol=1e-6, atol=1e-9)


def test_components_that_fit_share_a_block():
    component = np.repeat([0, 1, 2, 3, 4], [4, 1, 2, 1, 1])
    blocks = Blocks.of_components(component)
    assert (blocks.count, blocks.size) == (3, 4)  # four; two; one, one and one
    places = set(zip(blocks.block.tolist(), blocks.place.tolist(), strict=True))
    assert len(places) == len(component)  # nobody stands where another does
    for c in range(5):
        assert len(set(blocks.block[component == c])) == 1
    rows = np.random.default_rng(0).normal(size=(len(component), 2))
    np.testing.assert_array_equal(blocks.take(blocks.put(rows)), rows)


def test_a_matrix_of_linked_effects_survives_its_blocks():
    from scipy.sparse import csr_array

    rng = np.random.default_rng(1)
    component = rng.permutation(np.repeat(np.arange(6), [3, 2, 2, 1, 1, 1]))
    linked = component[:, None] == component
    M = np.where(linked, rng.normal(size=linked.shape), 0.0)
    blocks = Blocks.of_components(component)
    v = rng.normal(size=(len(component), 3))
    np.testing.assert_allclose(blocks.take(blocks.gather(csr_array(M)) @ blocks.put(v)), M @ v, atol=1e-14)
    assert blocks.count > 1

"""The result of a statsmodels mixed model, by its formulas or from arrays, as a :class:`Foreign`.

=============================  =================================================================================
result of                      what is read
=============================  =================================================================================
``MixedLM``                    population coefficients with their SE; ``random_effects`` with the conditional SD
                               of ``random_effects_cov``; ``cov_re`` and ``vcomp``; the (restricted) likelihood
``BinomialBayesMixedGLM``,     posterior means and SDs as ``fit_vb`` or ``fit_map`` approximate them
``PoissonBayesMixedGLM``
=============================  =================================================================================

What its columns and levels are is found from the numbers in the model (:mod:`workbench.adapters.statsmodels_columns`),
so names do not matter: ``Intercept``, ``const`` or ``x1``; ``Group``, ``Group Var`` or ``x_re1``; a variance component
called anything. Columns of other values are refused under any name. Of ``fit_vb(scale_fe=True)`` and
``fit_map(scale_fe=True)`` the intercept belongs to columns that are centred, and the result does not say so: such a
result cannot be told from others, and must not be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.adapters.foreign import Foreign, GroupRows
from workbench.adapters.statsmodels_columns import OTHER, Effects, Matched, Place, level_in
from workbench.design import Design
from workbench.errors import ComparisonError
from workbench.estimates import Component, Criterion, Estimates
from workbench.statsmodels_fits.bayes_mixed_glm import (
    LINKS,
    MEAN_FIELD,
    NAMES,
    Posterior,
    answer,
    log_deviations,
    no_spread,
    search_state,
)
from workbench.statsmodels_fits.mixed_lm import CONDITIONAL, SAMPLING, is_singular, population_errors
from workbench.words import join

Array = NDArray[np.float64]


def read_statsmodels(result: Any, design: Design, level: float = 0.95) -> Foreign:
    """Read the result of a statsmodels mixed model.

    Parameters
    ----------
    result : MixedLMResults or BayesMixedGLMResults
        Of ``MixedLM``, ``BinomialBayesMixedGLM`` or ``PoissonBayesMixedGLM``, fitted to the rows of the design, in any
        order.
    design : Design
        That it is to stand beside.
    level : float
        Probability of the intervals.

    Returns
    -------
    Foreign
        Under the design's names.

    Raises
    ------
    ComparisonError
        Another kind of result; another response, number of rows, family; columns, grouping factors or levels that
        differ; a design with weights.

    Examples
    --------
    >>> import pandas as pd
    >>> from statsmodels.formula.api import mixedlm
    >>> from workbench.design import build_design
    >>> table = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "g": list("aabbcc")})
    >>> read = read_statsmodels(mixedlm("y ~ 1", table, groups="g").fit(), build_design("y ~ 1 + (1 | g)", table))
    >>> read.terms, read.groups[0].levels, read.groups[0].values.estimate.round(2).tolist()
    (('(Intercept)',), ['a', 'b', 'c'], [-2.24, -0.32, 2.56])
    """
    kind, name = type(result).__name__, type(getattr(result, "model", None)).__name__
    if kind.startswith("MixedLMResults"):
        family, read = "gaussian", _mixed_lm
    elif kind.startswith("BayesMixedGLMResults") and name in NAMES.values():
        family, read = next(f for f, own in NAMES.items() if own == name), _bayes_mixed_glm
    elif kind == "MixedLM" or kind in NAMES.values():
        raise ComparisonError(f"This statsmodels {kind} is not fitted yet. Give what its fit() returns.")
    else:
        raise ComparisonError(
            f"This is a statsmodels {kind} of {name}, which has no group effects that could be set beside others. "
            f"Those of MixedLM, {join(NAMES.values(), 'or')} have."
        )
    source = f"statsmodels' {name}"
    _refuse(source, family, result.model, design)
    refused: ComparisonError | None = None
    for rows in Matched.each(source, design, result.model.endog):
        try:
            return read(result, rows, level)
        except ComparisonError as error:  # perhaps their rows stand in another order
            refused = refused or error
    assert refused is not None
    raise refused


def _refuse(source: str, family: str, model: Any, design: Design) -> None:
    link = LINKS.get(family, "identity")
    if (design.family, design.link) != (family, link):
        raise ComparisonError(
            f"{source} is of a {family} response with {link} link, the comparison of a {design.family} one with "
            f"{design.link} link. {OTHER}"
        )
    if design.known_se or not (design.weights == 1).all():
        trials = family == "binomial"
        raise ComparisonError(
            f"{source} knows no weights, and the comparison has {'trials or ' * trials}weights. "
            f"{'Make the comparison of 0/1 rows, as statsmodels has them.' if trials else 'Leave them out there.'}"
        )
    if family != "gaussian" and design.offset.any():
        raise ComparisonError(f"{source} knows no offset, and the comparison has one. {OTHER}")
    if getattr(model, "endog", None) is None:
        raise ComparisonError(f"{source} was saved without its data (remove_data), so its rows cannot be checked.")


# --- MixedLM --------------------------------------------------------------------------------------------


def _mixed_lm(result: Any, rows: Matched, level: float) -> Foreign:
    model, design = result.model, rows.design
    order = rows.fixed(model.exog, model.exog_names)
    p = len(order)
    b_cov = np.asarray(result.cov_params(), dtype=float)[:p, :p][np.ix_(order, order)]
    restricted = str(result.method) == "REML"
    estimate = np.asarray(result.fe_params, dtype=float)[order]
    kind = "REML estimate" if restricted else "ML estimate"
    parts = [rows.place(effects) for effects in _effects(model)]
    variances = _variances(result, len(parts))
    components, remarks = _components(rows, parts, variances)
    sigma, value = float(np.sqrt(result.scale)), -2 * float(result.llf)
    converged = bool(result.converged)
    return Foreign(
        source=rows.source,
        groups=tuple(_group_rows(result, design, parts, level)),
        terms=design.fixed_terms,
        population=Estimates.wald(estimate, population_errors(b_cov), level, kind, SAMPLING),
        fixed_cov=b_cov,
        components=components,
        sigma=sigma,
        criterion=Criterion(value, "REML" if restricted else "deviance"),
        log_likelihood=-value / 2,
        df=p + len(np.asarray(result.params)) - len(np.asarray(result.fe_params)) + 1,
        nobs=design.n,
        family="gaussian",
        link="identity",
        converged=converged,
        singular=is_singular(components, sigma),
        warnings=(*remarks, *(["statsmodels says that its search did not converge."] * (not converged))),
    )


def _effects(model: Any) -> list[Effects]:
    """The varying columns in the order in which statsmodels lists their effects: ``exog_re``, then components."""
    n, groups = len(model.endog), list(model.group_labels)
    members = [np.asarray(model.row_indices[label], dtype=np.intp) for label in groups]
    found = []
    if model.k_re:
        of = np.empty(n, dtype=np.intp)
        for i, here in enumerate(members):
            of[here] = i
        columns = np.asarray(model.exog_re, dtype=float).reshape(n, -1)
        labels: list[tuple[str, ...]] = [(str(label),) for label in groups]
        found += [Effects(f"random effect {k + 1}", columns[:, k], of, labels) for k in range(columns.shape[1])]
    for name, columns, matrices in zip(*_components_of(model), strict=True):
        values, of = np.zeros(n), np.full(n, -1, dtype=np.intp)
        labels = []
        single = all(matrix.shape[1] == 1 for matrix in matrices)
        for label, here, named, matrix in zip(groups, members, columns, matrices, strict=True):
            dense = matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix, dtype=float)
            if ((dense != 0).sum(axis=1) > 1).any():
                raise ComparisonError(
                    f"The variance component {name} of statsmodels gives a row several effects, which no random term "
                    f"of a formula here does. {OTHER}"
                )
            values[here] = dense.sum(axis=1)
            of[here] = np.where((dense != 0).any(axis=1) | single, len(labels) + (dense != 0).argmax(axis=1), -1)
            for column in named:
                own = level_in(str(column))
                labels.append((own, f"{own}:{label}", f"{label}:{own}", str(label)))
        found.append(Effects(f"variance component {name}", values, of, labels))
    return found


def _components_of(model: Any) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    spec = model.exog_vc
    return spec.names, spec.colnames, spec.mats


def _variances(result: Any, count: int) -> Array:
    """The covariance of all varying columns, shape (count, count), on the data's scale; components are independent."""
    free, single = np.asarray(result.cov_re, dtype=float), np.asarray(result.vcomp, dtype=float)
    k = count - len(single)
    found = np.zeros((count, count))
    found[:k, :k] = free[:k, :k]
    found[range(k, count), range(k, count)] = single
    return found


def _components(rows: Matched, parts: Sequence[Place], variances: Array) -> tuple[tuple[Component, ...], list[str]]:
    """One covariance matrix for each grouping factor, and a remark where theirs has fewer correlations than ours."""
    blocks = rows.design.blocks
    found = []
    for group in rows.design.groups:
        own = [k for k, part in enumerate(parts) if blocks[part.block].group == group]
        if own:
            terms = tuple(blocks[parts[k].block].terms[parts[k].column] for k in own)
            found.append(Component(group, terms, variances[np.ix_(own, own)]))
    remarks = []
    for place, block in enumerate(blocks):
        own = [k for k, part in enumerate(parts) if part.block == place]
        among = variances[np.ix_(own, own)]
        if len(own) > 1 and not (among - np.diag(np.diag(among))).any():
            remarks.append(
                f"{rows.source} keeps {join(block.terms)} of {block.group} independent, which the formula here lets "
                "correlate: another model."
            )
    return tuple(found), remarks


def _group_rows(result: Any, design: Design, parts: Sequence[Place], level: float) -> list[GroupRows]:
    """Effects and their conditional SDs, each put at its level."""
    model = result.model
    k_re, sizes = int(model.k_re), [[len(c) for c in named] for named in _components_of(model)[1]]
    values = [np.full(len(design.blocks[part.block].levels), np.nan) for part in parts]
    errors = [np.full_like(part, np.nan) for part in values]
    effects = result.random_effects
    try:
        covariances = result.random_effects_cov
    except ValueError:  # statsmodels has none where its matrices are sparse and there is no exog_re
        covariances = None
    seen = [0] * len(parts)
    for i, label in enumerate(model.group_labels):
        u = np.asarray(effects[label], dtype=float)
        sd = np.full(len(u), np.nan)
        if covariances is not None:
            sd = np.sqrt(np.maximum(np.diag(np.atleast_2d(np.asarray(covariances[label], dtype=float))), 0.0))
        at = 0
        for k, part in enumerate(parts):
            m = 1 if k < k_re else sizes[k - k_re][i]
            where = part.levels[seen[k] : seen[k] + m]
            values[k][where], errors[k][where] = u[at : at + m], sd[at : at + m]
            seen[k], at = seen[k] + m, at + m
    kind = CONDITIONAL if covariances is not None else "none: statsmodels gives none for sparse matrices"
    found = []
    for part, value, sd in zip(parts, values, errors, strict=True):
        block = design.blocks[part.block]
        estimates = Estimates.wald(value[:, None], sd[:, None], level, "BLUP", kind)
        found.append(GroupRows.of_matrix("ran_vals", block.group, block.levels, (block.terms[part.column],), estimates))
    return found


# --- BayesMixedGLM --------------------------------------------------------------------------------------


def _bayes_mixed_glm(result: Any, rows: Matched, level: float) -> Foreign:
    design, model = rows.design, result.model
    correlated = [block for block in design.blocks if len(block.terms) > 1]
    if correlated:
        raise ComparisonError(
            f"{rows.source} has no correlations, and {join(correlated[0].terms)} of {correlated[0].group} may "
            "correlate in the comparison. Write || in place of | there."
        )
    fixed = rows.fixed(model.exog, model.exog_names)
    parts, columns = _terms(model, rows)
    at = {part.block: k for k, part in enumerate(parts)}
    missing = [f"{block.terms[0]} by {block.group}" for k, block in enumerate(design.blocks) if k not in at]
    if missing or len(parts) > len(design.blocks):
        raise ComparisonError(f"{rows.source} has other random terms: {join(missing) or 'one'} is not there. {OTHER}")
    terms = np.array([at[k] for k in range(len(design.blocks))], dtype=np.intp)
    levels = []
    for k in terms.tolist():
        order = np.empty(len(columns[k]), dtype=np.intp)
        order[parts[k].levels] = columns[k]
        levels.append(order)
    found = Posterior.of(result, fixed, terms, np.concatenate(levels))
    made = answer(design, found, level)
    converged, state = search_state(result, ())
    groups = [
        GroupRows.of_matrix(effect, part.group, part.levels, part.terms, getattr(part, name))
        for effect, name in (("ran_vals", "effect"), ("ran_coefs", "coefficient"))
        for part in made.group_effects
    ]
    return Foreign(
        source=rows.source,
        groups=tuple(groups),
        terms=design.fixed_terms,
        population=made.population,
        fixed_cov=made.fixed_cov,
        components=made.components,
        nobs=design.n,
        family=design.family,
        link=design.link,
        converged=converged,
        singular=no_spread(made.components),
        warnings=(*_hesitations(found.method, converged),),
        parameters=made.parameters,
        diagnostics=MappingProxyType({"method": found.method, **log_deviations(result), **state}),
    )


def _hesitations(method: str, converged: bool) -> list[str]:
    said = [MEAN_FIELD] if method == "vb" else []
    return said + ["The slopes that are left say that statsmodels' search did not end at an optimum."] * (not converged)


def _terms(model: Any, rows: Matched) -> tuple[list[Place], list[NDArray[np.intp]]]:
    """Where every variance parameter's effects stand, and which columns of ``exog_vc`` they are."""
    from scipy.sparse import csc_array

    Z, ident = csc_array(model.exog_vc), np.asarray(model.ident)
    names = [str(name) for name in getattr(model, "vc_names", None) or range(len(ident))]
    parts, columns = [], []
    for number, own in enumerate(np.unique(ident).tolist()):
        here = np.flatnonzero(ident == own)
        entries = Z[:, here].tocoo()
        row, column = entries.coords
        kept = entries.data != 0
        row, column, data = row[kept], column[kept], entries.data[kept]
        if len(np.unique(row)) < len(row):
            raise ComparisonError(
                f"Random term {number + 1} of {rows.source} gives a row several effects, which no random term of a "
                f"formula here does. {OTHER}"
            )
        values, of = np.zeros(Z.shape[0]), np.full(Z.shape[0], -1, dtype=np.intp)
        values[row], of[row] = data, column
        labels = [(level_in(names[k]),) for k in here.tolist()]
        parts.append(rows.place(Effects(f"random term {number + 1}", values, of, labels)))
        columns.append(here)
    return parts, columns

"""The same model in R: lme4's functions, and arm's bayesglm where the comparison has a fixed prior."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import TYPE_CHECKING

from workbench.coding import Labels
from workbench.formula import Name
from workbench.report.asked import Asked, asked
from workbench.report.bayesglm_code import backtick, bayesglm_code, population_part
from workbench.report.equations import INTERCEPT, one_line

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.design import Design
    from workbench.report.context import Context


def r_code(comparison: Comparison, context: Context) -> str:
    """The same model in R: lme4, and the lines of arm's bayesglm that give the fixed prior's column."""
    design, asked_for = comparison.design, asked(comparison, context)
    if design.known_se:
        return "\n".join([_known_errors_in_r(design, asked_for), *bayesglm_code(comparison, "")])
    given = {key: backtick(column) for key, column in asked_for.columns.items()}
    by_weight = f", weights = {given['weights']}" if "weights" in given else ""
    more = by_weight + (f", offset = {given['offset']}" if "offset" in given else "")
    gaussian, family = design.family == "gaussian", f'{design.family.replace("gamma", "Gamma")}("{design.link}")'
    fitted = f"fit <- lmer({one_line(str(design.formula))}, data = d{more})   # REML"
    if not gaussian:
        fitted = f"fit <- glmer({one_line(str(design.formula))}, data = d, family = {family}{more})   # Laplace"
    lines = [
        "library(lme4)",
        *asked_for.comments,
        *_reading_in_r(design, asked_for),
        fitted,
        "coef(fit); VarCorr(fit)",
    ]
    arguments = [] if gaussian else [f"family = {family}"]
    arguments += [by_weight.removeprefix(", ")] if by_weight else []
    return "\n".join([*lines, *bayesglm_code(comparison, "".join(f"{part}, " for part in arguments))])


MOST_LABELS = 40
"""So many levels of a predictor are named; of more R takes its own order."""


def _reading_in_r(design: Design, asked_for: Asked) -> list[str]:
    """Read the data, and say which columns are labels: R takes a column of numbers for numbers, quoted or not."""
    reader = {"parquet": "arrow::read_parquet", "arrow": "arrow::read_feather", "tsv": "read.delim"}
    name = asked_for.data
    lines = [f'd <- {reader.get(PurePath(name).suffix[1:], "read.csv")}("{name}")']
    known = {
        e.name: seen
        for e, seen in design.coding.learnt.items()
        if isinstance(e, Name) and isinstance(seen, Labels) and not set(seen.levels) <= {"FALSE", "TRUE"}
    }
    for term in design.formula.random:
        for group in term.group:
            if group not in known:
                known[group] = Labels((), False)
    for column, seen in known.items():
        levels = ", ".join(json.dumps(label, ensure_ascii=False) for label in seen.levels)
        order = f", levels = c({levels})" if 0 < len(seen.levels) <= MOST_LABELS else ""
        ordered = ", ordered = TRUE" * seen.ordered
        lines.append(f"d${backtick(column)} <- factor(d${backtick(column)}{order}{ordered})")
    return [*lines, *_outcomes_in_r(design)]


def _known_errors_in_r(design: Design, asked_for: Asked) -> str:
    """A model whose residual SDs are known: nlme fixes the residual scale at one, which lme4 cannot."""
    se = f"d${backtick(asked_for.columns['se'])}"
    block, random = design.blocks[0], design.formula.random
    if len(random) != 1 or len(random[0].group) != 1 or block.terms != (INTERCEPT,):
        return (
            "# lme4 always estimates a residual variance. With known standard errors see metafor::rma.mv,\n"
            f"# whose likelihood for {one_line(str(design.formula))} is the same."
        )
    fixed = population_part(design)
    y = one_line(design.response)
    return "\n".join(
        [
            "# lme4 always estimates a residual variance; with known ones the restricted likelihood is soon written",
            *asked_for.comments,
            *_reading_in_r(design, asked_for),
            f"y <- with(d, {y}); X <- model.matrix(~ {fixed}, d); Z <- model.matrix(~ 0 + {backtick(block.group)}, d)",
            "solved <- function(tau) {",
            f"  V <- diag({se}^2) + tau^2 * tcrossprod(Z); W <- solve(V); A <- t(X) %*% W %*% X",
            "  b <- solve(A, t(X) %*% W %*% y); r <- y - X %*% b",
            "  list(b = b, u = tau^2 * t(Z) %*% W %*% r,",
            "       reml = c(determinant(V)$modulus + determinant(A)$modulus + t(r) %*% W %*% r))",
            "}",
            "tau <- optimize(function(tau) solved(tau)$reml, c(0, 10 * sd(y)), tol = 1e-8)$minimum",
            "tau; solved(tau)                          # SD between groups; population coefficients, effects",
        ]
    )


def _outcomes_in_r(design: Design) -> list[str]:
    """The levels of a response of labels, which R would not know from a file."""
    if not design.outcomes or set(design.outcomes) <= {"FALSE", "TRUE"}:
        return []
    column = f"d${one_line(design.response)}"
    levels = ", ".join(json.dumps(label, ensure_ascii=False) for label in design.outcomes)
    return [f"{column} <- factor({column}, levels = c({levels}))"]

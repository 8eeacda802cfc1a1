"""The same model in R: lme4's functions, and arm's bayesglm where the comparison has a fixed prior."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from workbench.coding import Labels
from workbench.formula import Name
from workbench.report.asked import Asked, asked
from workbench.report.bayesglm_code import backtick, bayesglm_code, population_part
from workbench.report.equations import INTERCEPT, one_line
from workbench.tables import MISSING_TEXT, file_kind

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
    known = {
        e.name: seen
        for e, seen in design.coding.learnt.items()
        if isinstance(e, Name) and isinstance(seen, Labels) and not set(seen.levels) <= {"FALSE", "TRUE"}
    }
    for term in design.formula.random:
        for group in term.group:
            if group not in known:
                known[group] = Labels((), False)
    lines = _file_in_r(asked_for.data, _unlike_numbers(design, known))
    if design.rows.weightless and "weights" in asked_for.columns:
        lines.append(f"d <- d[which(d${backtick(asked_for.columns['weights'])} > 0), ]")
    for column, seen in known.items():
        levels = ", ".join(json.dumps(label, ensure_ascii=False) for label in seen.levels)
        order = f", levels = c({levels})" if 0 < len(seen.levels) <= MOST_LABELS else ""
        ordered = ", ordered = TRUE" * seen.ordered
        lines.append(f"d${backtick(column)} <- factor(d${backtick(column)}{order}{ordered})")
    return [*lines, *_outcomes_in_r(design)]


def _file_in_r(name: str, text: Sequence[str]) -> list[str]:
    """The lines that read a file into `d`, with the values missing that are missing to us; columns of `text` as such.

    Names of columns stay as they are, which R would otherwise make words of.
    """
    file, kind = json.dumps(name, ensure_ascii=False), file_kind(PurePath(name))
    if kind in (".parquet", ".pq"):
        return [f"d <- as.data.frame(arrow::read_parquet({file}))"]
    if kind in (".arrow", ".feather", ".ipc"):
        return [f"d <- as.data.frame(arrow::read_feather({file}))"]
    if kind == ".rds":
        return [f"d <- readRDS({file})"]
    absent = ", ".join(map(json.dumps, MISSING_TEXT))
    kinds = ", ".join(f'{backtick(column)} = "character"' for column in text)
    more = f",\n              colClasses = c({kinds})" if kinds else ""
    reader = "read.csv" if kind == ".csv" else "read.delim"
    return [f"absent <- c({absent})", f"d <- {reader}({file}, check.names = FALSE, na.strings = absent{more})"]


def _unlike_numbers(design: Design, known: Mapping[str, Labels]) -> list[str]:
    """Columns whose labels R would read as other values, as 01 is 1 to it, and T is TRUE."""
    levels: dict[str, Sequence[str]] = {column: seen.levels for column, seen in known.items()}
    for term, block in zip(design.formula.random, design.blocks, strict=True):
        if len(term.group) == 1 and not levels[term.group[0]]:
            levels[term.group[0]] = block.levels
    return [column for column, labels in levels.items() if any(map(_read_otherwise, labels))]


def _read_otherwise(label: str) -> bool:
    """Whether a label is a number or a truth value to R, but is not printed again as it stands."""
    if label in ("T", "F", "true", "false", "True", "False"):
        return True
    try:
        return str(int(label)) != label
    except ValueError:
        pass
    try:
        return f"{float(label):.15g}" != label
    except ValueError:
        return label.lower().startswith("0x")


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

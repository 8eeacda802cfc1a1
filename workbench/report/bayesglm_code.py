"""The comparison's fixed prior in R: the lines of arm's bayesglm that give its column.

One grouping factor is written in group coefficients, with their mean as the prior's. Several are written in effects
about the held population values, with lme4's own columns: all coefficients of two factors with means of their own would
count the population value twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.report.equations import INTERCEPT, one_line
from workbench.report.prior_held import estimated, source_of, stated
from workbench.words import join

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.design import Design
    from workbench.fit import Fit

FEW = 3
"""So many coefficients are named."""
NAME = r"[A-Za-z.][\w.]*"
"""A name that R reads as it stands."""
MOST = 20_000_000
"""So many numbers of a matrix arm's function can be asked to decompose; it has no sparse one."""


def bayesglm_code(comparison: Comparison, arguments: str) -> list[str]:
    """Lines after those that make lme4's `fit` of the table `d`; none without a fixed prior here.

    `arguments` are those of family and weights, each followed by a comma and a space. Where arm's function cannot give
    the column, one line says why.
    """
    fixed = comparison.fits.get("fixed_prior")
    if fixed is None or fixed.read_from is not None:
        return []
    if why := _cannot(fixed):
        return ["", f"# arm's bayesglm cannot give the fixed prior's column: {why}."]
    own = "stated mean and SD" if all(stated(fixed.options)) else "mean and SD"
    lines = ["", f"library(arm)                              # the fixed prior's column, with the same {own}"]
    if fixed.design.rows.dropped:
        lines.append("d <- d[rownames(model.frame(fit)), ]      # the rows that lme4 used")
    if any(len(block.terms) > 1 for block in fixed.design.blocks):
        lines.append(
            "# arm's priors are independent: correlations of terms are left out, here as in the report's column"
        )
    one = _in_coefficients(fixed, arguments) if _is_simple(fixed) else _in_effects(fixed, arguments)
    other = "; summary(b) has others" if fixed.design.family in ("gaussian", "gamma") else ""
    return [*lines, *one, f"display(b)                                # the column's standard errors{other}"]


def _cannot(fixed: Fit) -> str:
    """Why arm's function cannot give a fixed prior's column; empty where it can."""
    design, options = fixed.design, fixed.options
    columns = sum(part.effect.estimate.size for part in fixed.group_effects)
    if design.known_se:
        return "it estimates the residual SD, which is known here"
    if options.dispersion != "em":
        return "it estimates the dispersion, which is held here"
    if any(np.count_nonzero(part.covariance - np.diag(np.diag(part.covariance))) for part in fixed.components):
        return "its priors cannot correlate"
    if any((part.sd == 0).any() for part in fixed.components):
        return "it takes no prior with an SD of zero"
    if fixed.priors:
        return "population coefficients have priors of their own here, for which its lines are not written"
    if options.scaled or np.isfinite(options.df):
        return "its lines are written for normal priors that are not rescaled"
    if design.n * columns > MOST:
        return f"its {design.n:,} rows x {columns:,} coefficients do not fit into a dense matrix"
    return "" if _is_simple(fixed) else _unwritten(fixed)


def _is_simple(fixed: Fit) -> bool:
    """Whether R writes the columns as plainly as the formula does: one factor's intercepts, or its plain slopes too."""
    design = fixed.design
    block, free = design.blocks[0], estimated(fixed)
    if len(design.blocks) > 1 or ":" in block.group or design.offset.any():
        return False
    if block.terms[0] != INTERCEPT or block.fixed[0] != 0:
        return False
    if free and (len(block.terms) > 1 or fixed.diagnostics["held"]):
        return False
    plain = {term.label for term in design.formula.random[0].terms}
    return all(term in plain and re.fullmatch(NAME, term) for term in block.terms[1:])


def _unwritten(fixed: Fit) -> str:
    """Why the lines in effects cannot be written."""
    design, (_, sd) = fixed.design, stated(fixed.options)
    groups = [block.group for block in design.blocks]
    if (sd or not _from_lme4(fixed)) and (
        len(set(groups)) < len(groups) or any(len(b.terms) > 1 for b in design.blocks)
    ):
        return "its lines for several terms are written for lme4's own SDs"
    prior = fixed.diagnostics["prior_mean"]
    columns = [column for block in design.blocks for column in block.fixed]
    if any(column is None and mean != 0 for column, mean in zip(columns, prior, strict=True)):
        return "its lines are written for means of population coefficients"
    return ""


def _from_lme4(fixed: Fit) -> bool:
    """Whether what was not stated is the estimates of the model that R's lines fit."""
    return source_of(fixed) == ("reml" if fixed.design.family == "gaussian" else "laplace")


# --- one factor, in coefficients ----------------------------------------------------------------------


def _in_coefficients(fixed: Fit, arguments: str) -> list[str]:
    design = fixed.design
    block, held = design.blocks[0], fixed.diagnostics["held"]
    (own_mean, own_sd), J, free = stated(fixed.options), len(block.levels), len(estimated(fixed))
    paired = [k for k in block.fixed if k is not None]
    mean, scale = _numbers(fixed.diagnostics["prior_mean"]), _numbers(fixed.diagnostics["prior_sd"])
    if _from_lme4(fixed) and not own_mean and len(paired) == len(block.terms):
        mean = "fixef(fit)" if paired == list(range(len(design.fixed_terms))) else f"fixef(fit)[{_places(paired)}]"
    if _from_lme4(fixed) and not own_sd:
        scale = f'attr(VarCorr(fit)[[{json.dumps(block.group, ensure_ascii=False)}]], "stddev")'
    group = backtick(block.group)
    right = " + ".join([f"0 + {group}", *(f"{group}:{term}" for term in block.terms[1:])])
    if len(block.terms) > 1:
        mean, scale = (f"rep({values}, each = {J})" for values in (mean, scale))
    before, more = [], ""
    if free:
        right += f" + {re.sub(r'^1 *[+]? *', '', population_part(design))}"
        mean, scale = f"c(rep({mean}, {J}), rep(0, {free}))", f"c(rep({scale}, {J}), rep(Inf, {free}))"
    elif held:
        places = [k for k in range(len(design.fixed_terms)) if k not in paired]
        before, more = [_held_line(fixed, places, f"   # {_held_words(held)}")], "offset = held, "
    return [*before, *_call(design, right, arguments + more, mean, scale)]


def _held_words(held: Collection[str]) -> str:
    """What the offset is, for a comment."""
    return f"held: {join(held)}" if len(held) <= FEW else f"{len(held):,} coefficients are held"


# --- several, in effects ------------------------------------------------------------------------------


def _in_effects(fixed: Fit, arguments: str) -> list[str]:
    design, free = fixed.design, estimated(fixed)
    places = [k for k in range(len(design.fixed_terms)) if k not in free]
    right, more = "0 + Z_effects", ""
    lines = ['Z_effects <- as.matrix(getME(fit, "Z"))   # lme4\'s columns of the effects']
    if places or design.offset.any():
        lines.append(_held_line(fixed, places, ""))
        more = "offset = held, "
    if free:
        lines.append(f"X_free <- model.matrix(fit)[, {_places(free)}, drop = FALSE]")
        right += " + X_free"
    scale = 'sigma(fit) * sqrt(rowSums(getME(fit, "Lambda")^2))'
    if stated(fixed.options)[1] or not _from_lme4(fixed):
        sds = (f"{backtick(part.group)} = {_number(part.sd[0])}" for part in fixed.components)
        lines.append(f"sds <- c({', '.join(sds)})")
        scale = 'rep(sds[names(getME(fit, "cnms"))], diff(getME(fit, "Gp")))'
    if free:
        scale = f"c({scale}, rep(Inf, {len(free)}))"
    note = ["# its coefficients are effects: the report's are these plus the population values"] if places else []
    return [*lines, *note, *_call(design, right, arguments + more, "0", scale)]


# --- parts --------------------------------------------------------------------------------------------


def _held_line(fixed: Fit, places: Sequence[int], comment: str) -> str:
    """The part of what is held, and any offset, as a column of `d`."""
    design, at = fixed.design, _places(places)
    values = _numbers([float(fixed.population.estimate[k]) for k in places])
    whole = len(places) == len(design.fixed_terms)
    if _from_lme4(fixed) and not stated(fixed.options)[0]:
        values = "fixef(fit)" if whole else f"fixef(fit)[{at}]"
    columns = "model.matrix(fit)" if whole else f"model.matrix(fit)[, {at}, drop = FALSE]"
    parts = [f"drop({columns} %*% {values})"] if places else []
    parts += ['getME(fit, "offset")'] if design.offset.any() else []
    return f"d$held <- {' + '.join(parts)}{comment}"


def _call(design: Design, right: str, arguments: str, mean: str, scale: str) -> list[str]:
    response = one_line(str(design.formula)).partition("~")[0].strip()
    return [
        f"b <- bayesglm({response} ~ {right}, data = d, {arguments}prior.df = Inf, scaled = FALSE,",
        f"              prior.mean = {mean},",
        f"              prior.scale = {scale})",
    ]


def population_part(design: Design) -> str:
    """The right-hand side of a formula without what varies by group."""
    right = one_line(str(design.formula)).partition("~")[2]
    return re.sub(r"\s*\+\s*\([^()]*\|[^()]*\)", "", right).strip()


def backtick(name: str) -> str:
    """A name as R reads it."""
    return name if re.fullmatch(NAME, name) else f"`{name}`"


def _places(columns: Sequence[int]) -> str:
    """Columns counted from 1: ``1``, ``2:4`` or ``c(1, 3)``."""
    first, last = columns[0] + 1 if columns else 0, columns[-1] + 1 if columns else 0
    if len(columns) == 1:
        return str(first)
    together = last - first + 1 == len(columns)
    return f"{first}:{last}" if together else f"c({', '.join(str(k + 1) for k in columns)})"


def _numbers(values: Sequence[float]) -> str:
    shown = ", ".join(map(_number, values))
    return shown if len(values) == 1 else f"c({shown})"


def _number(value: float) -> str:
    return f"{value:.10g}"

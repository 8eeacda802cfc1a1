"""The model in words, in mathematics and in code, from the design alone.

Mathematics is kept as text with ``_{...}`` for subscripts, which pages turn into HTML and READMEs into
plain letters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from workbench.coding import Labels
from workbench.fit import Fit
from workbench.formula import Name, deparse
from workbench.prior_defaults import default_priors
from workbench.sampling.responses import SAMPLED

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.design import Design, RandomBlock
    from workbench.report.context import Context

INTERCEPT = "(Intercept)"
LETTERS = "uvwabcdefgh"
SHOWN = 6
"""So many fixed terms are written out."""


def equations(design: Design) -> tuple[str, ...]:
    """The model line by line: response, random blocks, residual; or a family's law, linear predictor, random blocks.

    Examples
    --------
    >>> from workbench.design import build_design
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0], "x": [0, 1, 0, 1], "g": list("aabb")}
    >>> design = build_design("y ~ x + (1 | g)", table)
    >>> for line in equations(design):
    ...     print(as_text(line))
    y_i = β0 + β1·x_i + u_g(i) + ε_i
    u_j ~ Normal(0, τ²)   for each of the 2 levels j of g
    ε_i ~ Normal(0, σ²)
    """
    parts = _fixed_part(design)
    if design.offset.any():
        parts.append("offset_{i}")
    for k, block in enumerate(design.blocks):
        parts += _varying_part(block, _letter(k))
    laws = [_law(block, _letter(k), len(design.blocks) > 1) for k, block in enumerate(design.blocks)]
    if design.family != "gaussian":
        response, mean = _response_law(design)
        return (response, f"{_LINKED[design.link].format(mean)} = {' + '.join(parts)}", *laws)
    residual = "σ²"
    if design.known_se:
        residual = "s_{i}²"
    elif np.ptp(design.weights) > 0:
        residual = "σ² / w_{i}"
    tail = "   with known standard errors s_{i}" if design.known_se else ""
    first = f"{_name(design.response)}_{{i}} = {' + '.join([*parts, 'ε_{i}'])}"
    return (first, *laws, f"ε_{{i}} ~ Normal(0, {residual}){tail}")


_LINKED = {
    "logit": "logit({})", "probit": "probit({})", "cloglog": "cloglog({})", "log": "log({})", "inverse": "1 / {}",
}  # fmt: skip


def weighted(design: Design) -> bool:
    """Whether the rows have prior weights that tell: of a gaussian response unequal ones, of others any but one."""
    weights = design.prior_weights
    if design.family == "gaussian":
        return bool(np.ptp(weights) > 0)
    return bool((np.abs(weights - 1) > 1e-12).any())  # trials times weight over trials is rounded


def _response_law(design: Design) -> tuple[str, str]:
    """The law of a response that is not gaussian, and the mean in it."""
    y, counted = f"{_name(design.response)}_{{i}}", design.formula.cbind
    tail = "   rows weighted by w_{i}" if weighted(design) else ""
    match design.family:
        case "poisson":
            return f"{y} ~ Poisson(μ_{{i}}){tail}", "μ_{i}"
        case "gamma":
            over = " / w_{i}" if tail else ""
            return f"{y} ~ Gamma with mean μ_{{i}}, variance φ·μ_{{i}}²{over}", "μ_{i}"
    if counted is not None:
        return f"{_name(deparse(counted[0]))}_{{i}} ~ Binomial(n_{{i}}, p_{{i}}), n_{{i}} trials{tail}", "p_{i}"
    if design.outcomes:
        y = f"1[{y} = {_name(' or '.join(design.outcomes[1:]))}]"
    if tail:  # a share with its trials as weights, or single trials that count several times
        return f"n_{{i}}·{y} ~ Binomial(n_{{i}}, p_{{i}}), n_{{i}} trials (the weights)", "p_{i}"
    return f"{y} ~ Bernoulli(p_{{i}})", "p_{i}"


def _letter(k: int) -> str:
    return LETTERS[k] if k < len(LETTERS) else f"u{k}"


def _name(text: str) -> str:
    return text.replace("{", "(").replace("}", ")")


def _fixed_part(design: Design) -> list[str]:
    terms = design.fixed_terms
    start = 0 if INTERCEPT in terms else 1
    written = [
        f"β_{{{k + start}}}" + ("" if term == INTERCEPT else f"·{_name(term)}_{{i}}") for k, term in enumerate(terms)
    ]
    if len(written) > SHOWN:
        written = [*written[: SHOWN - 1], "…", written[-1]]
    return written


def _varying_part(block: RandomBlock, letter: str) -> list[str]:
    group = _name(block.group)
    if len(block.terms) == 1:
        return [f"{letter}_{{{group}(i)}}{_times(block.terms[0])}"]
    return [f"{letter}_{{{k},{group}(i)}}{_times(term)}" for k, term in enumerate(block.terms)]


def _times(term: str) -> str:
    return "" if term == INTERCEPT else f"·{_name(term)}_{{i}}"


def _law(block: RandomBlock, letter: str, several: bool) -> str:
    mark = f"_{{{letter}}}" if several else ""
    q, levels = len(block.terms), f"   for each of the {len(block.levels):,} levels j of {_name(block.group)}"
    if q == 1:
        return f"{letter}_{{j}} ~ Normal(0, τ{mark}²){levels}"
    names = ", ".join(f"{letter}_{{{k}j}}" for k in range(min(q, SHOWN))) + (", …" if q > SHOWN else "")
    return f"({names}) ~ Normal(0, Σ{mark}){levels}, Σ{mark} any {q} × {q} covariance matrix"


def as_text(line: str) -> str:
    """An equation in plain letters: ``y_i``, ``β0``."""
    line = re.sub(r"([βτΣσ])_\{(\w+)\}", r"\1\2", line)
    return re.sub(r"_\{([^}]*)\}", r"_\1", line)


def as_html(line: str) -> Markup:
    """An equation with real subscripts; names are escaped."""
    pieces = re.split(r"_\{([^}]*)\}", line)
    return Markup("").join(
        Markup("<sub>{}</sub>").format(piece) if k % 2 else escape(piece) for k, piece in enumerate(pieces)
    )


# --- code ---------------------------------------------------------------------------------------------


def command(comparison: Comparison, context: Context) -> str:
    """The command line that makes this report again."""
    if context.name:
        given = PurePath(str(context.study.get("folder", context.name)))
        lie = f"# the data: {(given / data_name(context)).as_posix()}"
        return f"{lie}\nworkbench run {context.name if context.built_in else given.as_posix()}"
    names = " ".join(name for name, fit in comparison.fits.items() if fit.read_from is None)
    design = comparison.design
    family = "" if design.family == "gaussian" else f" --family {design.family} --link {design.link}"
    model = f'{data_name(context)} "{design.formula}"{family}'
    more = [f'--prior "{key}={text}"' for key, text in _stated_priors(comparison, context).items()]
    for name, fit in comparison.fits.items():
        for key, value in _own_options(fit).items():
            shown = "..." if isinstance(value, Fit) else json.dumps(value, default=dict, ensure_ascii=False).strip('"')
            more.append(f"--option '{name}.{key}={shown}'")
    more += [f'--foreign "{name}={file or "..."}"' for name, file in _foreign_files(comparison).items()]
    return " ".join([f"workbench compare {model} --estimators {names}", *more, "--out report"])


def _foreign_files(comparison: Comparison) -> dict[str, str | None]:
    """The file that each answer from elsewhere was read from; None of what was given as an object."""
    sources = {name: fit.read_from for name, fit in comparison.fits.items() if fit.read_from}
    return {name: source if PurePath(source).suffix else None for name, source in sources.items()}


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def data_name(context: Context) -> str:
    """The data file's name, without the folders it lies in."""
    return PurePath(str(context.study.get("data", "data.csv"))).name


def python_code(comparison: Comparison, context: Context) -> str:
    """The lines of Python that make this comparison."""
    design, study = comparison.design, context.study
    missing: list[str] = []
    given = [
        json.dumps(str(design.formula), ensure_ascii=False),
        json.dumps(data_name(context)),
        _list([name for name, fit in comparison.fits.items() if fit.read_from is None]),
    ]
    for key in ("weights", "offset", "se"):
        if study.get(key):
            given.append(f"{key}={json.dumps(study[key])}")
    if design.family != "gaussian":
        given.append(f"family={json.dumps(design.family)}, link={json.dumps(design.link)}")
    if design.coding.offset is not None and not study.get("offset"):
        by_name = design.coding.offset_is_column
        given.append(f"offset={json.dumps(design.coding.offset) if by_name else 'offset'}")
        missing += [] if by_name else ["offset = ...              # the offset, one per row"]
    if not study.get("weights") and not design.known_se and weighted(design):
        given.append("weights=weights")
        missing.append("weights = ...             # the prior weights, one per row")
    if not study.get("se") and design.known_se:
        given.append("se=se")
        missing.append("se = ...                  # the known standard errors, one per row")
    if study.get("seed", 1) != 1:
        given.append(f"seed={study['seed']}")
    if priors := _stated_priors(comparison, context):
        given.append(f"priors={json.dumps(priors, ensure_ascii=False)}")
    if files := _foreign_files(comparison):
        named = ", ".join(f"{_text(name)}: {_text(file) if file else '...'}" for name, file in files.items())
        given.append(f"foreign={{{named}}}")
        missing += [
            f"# in place of ... stands what {name} was read from: {comparison.fits[name].read_from}"
            for name, file in files.items()
            if file is None
        ]
    options, unsaid = _options(comparison)
    given += [f"options={options}"] if options else []
    missing += unsaid
    return "\n".join(
        [
            "import workbench as wb",
            "",
            *missing,
            "comparison = wb.compare(",
            *(f"    {part}," for part in given),
            ")",
            "comparison.estimates      # every estimate with its error, interval and kind",
            "comparison.plot.shrinkage()",
        ]
    )


def _own_options(fit: Fit) -> dict[str, Any]:
    """A fit's options that are not its estimator's defaults."""
    if not is_dataclass(fit.options) or isinstance(fit.options, type):
        return {}
    default = type(fit.options)()
    values = {field.name: getattr(fit.options, field.name) for field in fields(fit.options)}
    return {key: value for key, value in values.items() if isinstance(value, Fit) or value != getattr(default, key)}


def _options(comparison: Comparison) -> tuple[str, list[str]]:
    """Options of the estimators that are not their defaults, as Python, and lines for what cannot be written down."""
    parts, unsaid = [], []
    for name, fit in comparison.fits.items():
        own = []
        for key, value in _own_options(fit).items():
            if isinstance(value, Fit):
                unsaid.append(f"other_fit = ...           # the fit of {_one_line(str(value.design.formula))}")
            shown = (
                "other_fit" if isinstance(value, Fit) else repr(dict(value) if isinstance(value, Mapping) else value)
            )
            own.append(f"{json.dumps(key)}: {shown}")
        parts += [f"{json.dumps(name)}: {{{', '.join(own)}}}"] if own else []
    return (f"{{{', '.join(parts)}}}" if parts else ""), unsaid


def _stated_priors(comparison: Comparison, context: Context) -> dict[str, str]:
    """Priors that are not the defaults, by name."""
    if context.study.get("priors"):
        return {key: str(prior) for key, prior in context.study["priors"].items()}
    design = comparison.design
    defaults = default_priors(design, robust=True) if design.family in SAMPLED else {}
    usual = {key: str(prior) for key, prior in defaults.items()}
    every = {key: text for fit in comparison.fits.values() for key, text in fit.priors.items()}
    return {key: text for key, text in every.items() if usual.get(key) != text}


def r_code(comparison: Comparison, context: Context) -> str:
    """The same model in R: lme4 and, for group means, arm's bayesglm with REML's mean and SD as its prior."""
    design, name = comparison.design, data_name(context)
    if design.known_se:
        return _known_errors_in_r(design, context)
    weights = context.study.get("weights") or "w"
    more = f", weights = {weights}" if weighted(design) else ""
    if design.coding.offset is not None:
        more += f", offset = {_backtick(design.coding.offset) if design.coding.offset_is_column else 'offset'}"
    gaussian, family = design.family == "gaussian", f'{design.family.replace("gamma", "Gamma")}("{design.link}")'
    fitted = f"fit <- lmer({_one_line(str(design.formula))}, data = d{more})   # REML"
    if not gaussian:
        fitted = f"fit <- glmer({_one_line(str(design.formula))}, data = d, family = {family}{more})   # Laplace"
    lines = [
        "library(lme4)",
        *_reading_in_r(design, name),
        fitted,
        "coef(fit); VarCorr(fit)",
    ]
    block = design.blocks[0]
    simple = len(design.blocks) == 1 and block.terms == (INTERCEPT,) and design.fixed_terms == (INTERCEPT,)
    if simple and not design.offset.any() and not more and ":" not in block.group:
        lines += [
            "",
            "library(arm)                              # the same mean and SD, as a fixed prior",
            f"bayesglm({_one_line(design.response)} ~ 0 + {_backtick(block.group)}, data = d, "
            f"{'' if gaussian else f'family = {family}, '}prior.df = Inf, scaled = FALSE,",
            "         prior.mean = fixef(fit), prior.scale = as.data.frame(VarCorr(fit))$sdcor[1])",
        ]
    return "\n".join(lines)


MOST_LABELS = 40
"""So many levels of a predictor are named; of more R takes its own order."""


def _reading_in_r(design: Design, name: str) -> list[str]:
    """Read the data, and say which columns are labels: R takes a column of numbers for numbers, quoted or not."""
    reader = {"parquet": "arrow::read_parquet", "arrow": "arrow::read_feather", "tsv": "read.delim"}
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
        lines.append(f"d${_backtick(column)} <- factor(d${_backtick(column)}{order}{ordered})")
    return [*lines, *_outcomes_in_r(design)]


def _known_errors_in_r(design: Design, context: Context) -> str:
    """A model whose residual SDs are known: nlme fixes the residual scale at one, which lme4 cannot."""
    se = f"d${_backtick(context.study.get('se') or 'se')}"
    block, random = design.blocks[0], design.formula.random
    if len(random) != 1 or len(random[0].group) != 1 or block.terms != (INTERCEPT,):
        return (
            "# lme4 always estimates a residual variance. With known standard errors see metafor::rma.mv,\n"
            f"# whose likelihood for {_one_line(str(design.formula))} is the same."
        )
    fixed = re.sub(r"\s*\+\s*\([^()]*\|[^()]*\)", "", _one_line(str(design.formula)).partition("~")[2]).strip()
    y = _one_line(design.response)
    return "\n".join(
        [
            "# lme4 always estimates a residual variance; with known ones the restricted likelihood is soon written",
            *_reading_in_r(design, data_name(context)),
            f"y <- with(d, {y}); X <- model.matrix(~ {fixed}, d); Z <- model.matrix(~ 0 + {_backtick(block.group)}, d)",
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
    column = f"d${_one_line(design.response)}"
    levels = ", ".join(json.dumps(label, ensure_ascii=False) for label in design.outcomes)
    return [f"{column} <- factor({column}, levels = c({levels}))"]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _backtick(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z.][\w.]*", name) else f"`{name}`"


def _list(names: Sequence[str]) -> str:
    return "[" + ", ".join(json.dumps(name) for name in names) + "]"

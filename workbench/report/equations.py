"""The model in mathematics, from the design alone.

Mathematics is kept as text with ``_{...}`` for subscripts, which pages turn into HTML and READMEs into
plain letters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape

from workbench.formula import deparse

if TYPE_CHECKING:
    from workbench.design import Design, RandomBlock

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


def one_line(text: str) -> str:
    """Text without line breaks."""
    return " ".join(text.split())

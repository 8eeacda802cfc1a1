"""The explicit hierarchical model of a comparison as a PyMC program: data, resolved priors, model, sampling.

The model is that of :mod:`workbench.sampling.explicit`, not centred, with the same names of free variables. Columns are
made by pandas where it can make them (:mod:`workbench.report.column_code`), else taken from the workbench's design.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from workbench.coding import Labels
from workbench.formula import Formula, RandomTerm
from workbench.prior_defaults import resolve_priors
from workbench.priors import Prior, coefficient_name, parse_prior
from workbench.report.asked import Asked, asked
from workbench.report.column_code import Unwritten, column, columns_code, is_label, number_code
from workbench.sampling.names import block_names, group_dim
from workbench.sampling.responses import SAMPLED
from workbench.tables import MISSING_TEXT, file_kind

if TYPE_CHECKING:
    from workbench.comparison import Comparison
    from workbench.design import Design, RandomBlock
    from workbench.report.context import Context

PYMC: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Normal": ("Normal", ("mu", "sigma")),
    "StudentT": ("StudentT", ("nu", "mu", "sigma")),
    "Cauchy": ("Cauchy", ("alpha", "beta")),
    "HalfNormal": ("HalfNormal", ("sigma",)),
    "HalfStudentT": ("HalfStudentT", ("nu", "sigma")),
    "HalfCauchy": ("HalfCauchy", ("beta",)),
    "Exponential": ("Exponential", ("lam",)),
    "Gamma": ("Gamma", ("alpha", "beta")),
    "Uniform": ("Uniform", ("lower", "upper")),
}
"""Priors by PyMC's names, and those of their parameters."""
READERS = {
    ".csv": "read_csv", ".tsv": "read_csv", ".txt": "read_csv", ".parquet": "read_parquet", ".pq": "read_parquet",
    ".arrow": "read_feather", ".feather": "read_feather", ".ipc": "read_feather",
}  # fmt: skip
"""Functions of pandas by the ending of a file."""
LINK_CODE = {
    "logit": "pm.math.invlogit(eta)",
    "probit": "pm.math.invprobit(eta)",
    "cloglog": "1 - pm.math.exp(-pm.math.exp(eta))",
}


@dataclass(frozen=True)
class Source:
    """Where a program's columns come from: lines that read them, and expressions for each."""

    lines: tuple[str, ...]
    X: Mapping[str, str]
    Z: tuple[Mapping[str, str], ...]
    codes: tuple[str, ...]
    levels: tuple[str, ...]
    y: str
    trials: str
    weights: str
    offset: str


def pymc_code(comparison: Comparison, context: Context) -> str:
    """The program; empty where there is none: for a gamma response, and weights that are no numbers of trials."""
    design = comparison.design
    if design.family not in SAMPLED or (design.family != "gaussian" and not _counts(design)):
        return ""
    asked_for = asked(comparison, context)
    priors = _priors(comparison, {**comparison.call, **context.study}.get("priors") or {})
    try:
        source = _from_pandas(design, asked_for)
    except Unwritten:
        source = _from_design(design, asked_for)
    lines = [
        *asked_for.comments,
        "import numpy as np",
        *(["import pandas as pd"] if any("pd." in line for line in source.lines) else []),
        "import pymc as pm",
        *(["import pytensor.tensor as pt"] if any(len(block.terms) > 2 for block in design.blocks) else []),
        *source.lines,
        "",
        "X = {",
        *(f"    {_quoted(term)}: {code}," for term, code in source.X.items()),
        "}",
        *_coords(design, source),
        "with pm.Model(coords=coords) as model:",
        "    b = {",
        *(
            f"        {_quoted(term)}: {_variable(priors[coefficient_name(term)], f'b[{term}]')},"
            for term in design.fixed_terms
        ),
        "    }",
        f"    eta = sum(b[term] * X[term] for term in X){f' + {source.offset}' if source.offset else ''}",
    ]
    for k, (block, name) in enumerate(zip(design.blocks, block_names(design), strict=True)):
        lines += _block(block, name, priors, source, k)
    lines += [*_response(design, priors, source), "    draws = pm.sample(random_seed=1)"]
    return "\n".join(lines)


def _counts(design: Design) -> bool:
    """Whether a response of counts is one of whole trials, each row counting once."""
    if design.family == "poisson" or design.formula.cbind is not None:
        return bool((np.abs(design.prior_weights - 1) < 1e-12).all())
    successes = design.weights * design.y
    return bool((np.abs(design.weights % 1) < 1e-9).all() and (np.abs(successes - successes.round()) < 1e-6).all())


def _priors(comparison: Comparison, stated: Mapping[str, str]) -> Mapping[str, Prior]:
    """Those of the fit by full Bayes, else the stated ones and the defaults."""
    priors = dict(resolve_priors(comparison.design, stated))
    for name in ("exact", "hierarchical"):
        fit = comparison.fits.get(name)
        if fit is not None and fit.read_from is None:
            priors |= {key: parse_prior(text, key) for key, text in fit.priors.items()}
    return priors


# --- where columns come from --------------------------------------------------------------------------


def _from_pandas(design: Design, asked_for: Asked) -> Source:
    formula, learnt, coding = design.formula, design.coding.learnt, design.coding
    name, given = asked_for.data, asked_for.columns
    if file_kind(PurePath(name)) not in READERS:
        raise Unwritten
    X = columns_code(formula.terms, formula.intercept, learnt)
    every = [code for k, code in enumerate(X.items()) if k in coding.kept]
    Z = tuple(columns_code(term.terms, term.intercept, learnt) for term in formula.random)
    if [name for name, _ in every] != list(design.fixed_terms) or any(
        tuple(z) != block.terms for z, block in zip(Z, design.blocks, strict=True)
    ):
        raise Unwritten
    y, trials = _response_code(design)
    offsets = [number_code(e, learnt) for e in formula.offsets]
    offsets += [column(given["offset"])] if "offset" in given else []
    used = [*formula.variables, *given.values()]
    by_row = given.get("se") or given.get("weights")
    return Source(
        lines=(*_reading(design, name, used, given.get("weights")), *_grouping(formula, design)),
        X={term: _plain(code) for term, code in every},
        Z=tuple({term: _plain(code) for term, code in z.items()} for z in Z),
        codes=tuple(f"g{k + 1}" for k in range(len(design.blocks))),
        levels=tuple(f"levels{k + 1}" for k in range(len(design.blocks))),
        y=y,
        trials=trials,
        weights=_plain(column(by_row)) if by_row else "",
        offset=_plain(" + ".join(offsets)) if offsets else "",
    )


def _plain(code: str) -> str:
    """A column's code as an array; one stays one."""
    if code == "1.0":
        return code
    bare = re.fullmatch(r'd\["[^"]*"\]', code) or _enclosed(code)
    return f"{code if bare else f'({code})'}.to_numpy(float)"


def _enclosed(code: str) -> bool:
    """Whether one pair of brackets holds all of it."""
    depth = 0
    for place, letter in enumerate(code):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return place > 0 and place == len(code) - 1
    return False


def _has_weights(design: Design) -> bool:
    weights = design.prior_weights
    return not design.known_se and bool((np.abs(weights - 1) > 1e-12).any())


def _labelled(design: Design) -> list[str]:
    """Columns to be read as text, as labels are told apart: 01 is not 1."""
    from workbench.formula import Name, variables

    found = [e.name for e, seen in design.coding.learnt.items() if isinstance(seen, Labels) and isinstance(e, Name)]
    found += [name for term in design.formula.random for name in term.group]
    if design.outcomes:
        found += variables(design.formula.response)
    return list(dict.fromkeys(found))


def _reading(design: Design, name: str, used: list[str], weights: str | None) -> list[str]:
    """Read the file, with the values missing that are missing to us, and leave out the rows that we leave out."""
    kind = file_kind(PurePath(name))
    reader = READERS[kind]
    lines = ["", f"d = pd.{reader}({_quoted(name)})"]
    if reader == "read_csv":
        kinds = ", ".join(f"{_quoted(label)}: str" for label in _labelled(design))
        more = [*([] if kind == ".csv" else ['sep="\\t"']), f"dtype={{{kinds}}}", "keep_default_na=False"]
        lines = [
            "",
            f"absent = [{', '.join(map(_quoted, MISSING_TEXT))}]",
            f"d = pd.read_csv({_quoted(name)}, {', '.join(more)}, na_values=absent)",
        ]
    if design.rows.missing:
        lines.append(f"d = d.dropna(subset=[{', '.join(_quoted(label) for label in dict.fromkeys(used))}])")
    if design.rows.weightless and weights:
        lines.append(f"d = d[{column(weights)} > 0]")
    if design.rows.trialless:
        lines.append(f"d = d[({_response_code(design)[1]}) > 0]")
    return lines


def _grouping(formula: Formula, design: Design) -> list[str]:
    return [
        f"g{k + 1}, levels{k + 1} = pd.factorize({_label(term)}, sort=True)   # {len(block.levels):,} groups"
        for k, (term, block) in enumerate(zip(formula.random, design.blocks, strict=True))
    ]


def _label(term: RandomTerm) -> str:
    return ' + ":" + '.join(
        f"{column(name)}.astype(str)" if len(term.group) > 1 else column(name) for name in term.group
    )


def _response_code(design: Design) -> tuple[str, str]:
    """The response as it is observed, and of shares the numbers of trials."""
    formula, learnt = design.formula, design.coding.learnt
    if formula.cbind is not None:
        successes, failures = (number_code(e, learnt) for e in formula.cbind)
        total = failures.removesuffix(f" - {successes}")
        return _plain(successes), _plain(total if total != failures else f"{successes} + {failures}")
    if design.outcomes:
        from workbench.formula import variables

        (name,) = variables(formula.response)
        failure = is_label(name, design.outcomes[0], design.outcomes)
        return f"(~{failure}).to_numpy(int)", ""
    return _plain(number_code(formula.response, learnt)), ""


def _from_design(design: Design, asked_for: Asked) -> Source:
    """The columns as the workbench makes them."""
    given = [f"{key}={_quoted(name)}" for key, name in asked_for.columns.items()]
    family = [] if design.family == "gaussian" else [f"family={_quoted(design.family)}", f"link={_quoted(design.link)}"]
    arguments = ", ".join([_quoted(" ".join(str(design.formula).split())), _quoted(asked_for.data), *family, *given])
    counted = design.family == "binomial"
    return Source(
        lines=(
            "from workbench.design import build_design",
            "",
            f"design = build_design({arguments})   # the model's columns, coded as R codes them",
        ),
        X={term: f"design.X[:, {k}]" for k, term in enumerate(design.fixed_terms)},
        Z=tuple(
            {term: f"design.blocks[{i}].Z[:, {k}]" for k, term in enumerate(block.terms)}
            for i, block in enumerate(design.blocks)
        ),
        codes=tuple(f"design.blocks[{i}].codes" for i in range(len(design.blocks))),
        levels=tuple(f"list(design.blocks[{i}].levels)" for i in range(len(design.blocks))),
        y="np.round(design.weights * design.y)" if counted else "design.y",
        trials="design.weights" if counted else "",
        weights="design.weights**-0.5" if design.known_se else "design.weights" if _has_weights(design) else "",
        offset="design.offset" if design.offset.any() else "",
    )


# --- the model ----------------------------------------------------------------------------------------


def _coords(design: Design, source: Source) -> list[str]:
    """The labels of effects: levels, and of several varying terms these."""
    made: dict[str, str] = {}
    for block, name, levels in zip(design.blocks, block_names(design), source.levels, strict=True):
        made[group_dim(block.group)] = levels
        if len(block.terms) > 1:
            made[f"{name}_term"] = f"[{', '.join(map(_quoted, block.terms))}]"
    return ["coords = {", *(f"    {_quoted(dim)}: {labels}," for dim, labels in made.items()), "}"]


def _block(block: RandomBlock, name: str, priors: Mapping[str, Prior], source: Source, k: int) -> list[str]:
    """Priors of the spreads, the correlations, the effects, and what they add to the linear predictor."""
    q, J, dim = len(block.terms), len(block.levels), group_dim(block.group)
    sds = [_variable(priors[f"sd({block.group}, {term})"], f"sd_{name}[{term}]", True) for term in block.terms]
    codes = source.codes[k]
    if q == 1:
        (column_code,) = source.Z[k].values()
        times = "" if column_code == "1.0" else f" * {column_code}"
        return [
            "",
            f"    sd = {sds[0]}",
            f"    z = pm.Normal({_quoted(f'z_{name}')}, 0, 1, shape=(1, {J}))",
            f"    u = pm.Deterministic({_quoted(f'effect_{name}')}, sd * z[0], dims={_quoted(dim)})",
            f"    eta = eta + u[{codes}]{times}",
        ]
    eta = priors[f"cor({block.group})"].values[0]
    lines = ["", "    sd = [", *(f"        {sd}," for sd in sds), "    ]"]
    lines += _correlations(name, q, eta)
    lines += [
        f"    z = pm.Normal({_quoted(f'z_{name}')}, 0, 1, shape=({q}, {J}))",
        f"    u = [sd[i] * sum(L[i][j] * z[j] for j in range(i + 1)) for i in range({q})]",
        f"    pm.Deterministic({_quoted(f'effect_{name}')}, pm.math.stack(u, axis=1), dims=({_quoted(dim)}, "
        f"{_quoted(f'{name}_term')}))",
    ]
    for i, code in enumerate(source.Z[k].values()):
        lines.append(f"    eta = eta + u[{i}][{codes}]" + ("" if code == "1.0" else f" * {code}"))
    return lines


def _correlations(name: str, q: int, eta: float) -> list[str]:
    """The Cholesky factor L of an LKJ correlation matrix, from partial correlations that are Beta on (-1, 1)."""
    shapes = [eta + (q - 2 - j) / 2 for i in range(1, q) for j in range(i)]
    shown = f"[{', '.join(_number(shape) for shape in shapes)}]"
    lines = [f"    partial = 2 * pm.Beta({_quoted(f'partial_{name}')}, {shown}, {shown}) - 1   # LKJ({eta:g})"]
    if q == 2:
        return [*lines, "    L = [[1.0], [partial[0], pm.math.sqrt(1 - partial[0] ** 2)]]"]
    return [
        *lines,
        "    L, k = [[1.0]], 0",
        f"    for i in range(1, {q}):",
        "        row, left = [], 1.0",
        "        for j in range(i):",
        "            row.append(partial[k] * pt.sqrt(left))",
        "            left, k = left * (1 - partial[k] ** 2), k + 1",
        "        L.append([*row, pt.sqrt(left)])",
    ]


def _response(design: Design, priors: Mapping[str, Prior], source: Source) -> list[str]:
    if design.family == "poisson":
        return ["", f'    pm.Poisson("y", mu=pm.math.exp(eta), observed={source.y})']
    if design.family == "binomial":
        p = "logit_p=eta" if design.link == "logit" else f"p={LINK_CODE[design.link]}"
        if source.trials:
            return ["", f'    pm.Binomial("y", n={source.trials}, {p}, observed={source.y})']
        if source.weights:
            y = f"np.round({source.weights} * {source.y})"
            return ["", f'    pm.Binomial("y", n={source.weights}, {p}, observed={y})']
        return ["", f'    pm.Bernoulli("y", {p}, observed={source.y})']
    scale = "sigma" + (f" / np.sqrt({source.weights})" if source.weights else "")
    lines = [""]
    if design.known_se:
        scale = source.weights
    else:
        lines.append(f"    sigma = {_variable(priors['sigma'], 'sigma', True)}")
    if "nu" in priors:
        lines.append(f"    nu = {_variable(priors['nu'], 'nu', True)}")
        return [*lines, f'    pm.StudentT("y", nu=nu, mu=eta, sigma={scale}, observed={source.y})']
    return [*lines, f'    pm.Normal("y", mu=eta, sigma={scale}, observed={source.y})']


def _variable(prior: Prior, name: str, positive: bool = False) -> str:
    """A prior as a random variable of PyMC."""
    if prior.kind == "Flat":
        return f"pm.{'HalfFlat' if positive else 'Flat'}({_quoted(name)})"
    kind, names = PYMC[prior.kind]
    values = ", ".join(f"{key}={_number(value)}" for key, value in zip(names, prior.values, strict=True))
    return f"pm.{kind}({_quoted(name)}, {values})"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    """A float, since PyTensor squares whole numbers as whole numbers of few bits."""
    return repr(float(value))

"""What the user says of priors x columns -> :class:`~workbench.bayesglm.plain.CoefficientPriors`, scaled.

With ``scaled`` a prior scale is about a change of the predictor between its two values, or of two standard deviations:

* a column with two values: scale / range;
* one with more: scale / (2 SD);
* one with a single value, and the intercept: the scale as it is;
* gaussian family: times 2 SD of y besides, the intercept's included.

All rows of the table count alike here, whatever their weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from workbench.bayesglm.plain import CoefficientPriors
from workbench.errors import DesignError, PriorError, nearest
from workbench.families import Family

Array = NDArray[np.float64]
Values = float | Sequence[float] | NDArray[Any] | Mapping[str, float]
PROBIT = 1.6
"""Default scales of a probit model are this many times those of a logit model (as 1.6 is the ratio of their units)."""


@dataclass(frozen=True)
class PriorArguments:
    """The prior arguments of :func:`workbench.bayesglm.bayesglm`, as given; see there."""

    mean: Values = 0.0
    scale: Values | None = None
    df: Values = 1.0
    intercept_mean: float = 0.0
    intercept_scale: float | None = None
    intercept_df: float = 1.0
    min_scale: float = 1e-12
    scaled: bool = True
    joint: Mapping[Any, tuple[Any, Any]] = field(default_factory=lambda: MappingProxyType({}))


def coefficient_priors(
    given: PriorArguments,
    y: Array,
    X: Array,
    names: Sequence[str],
    intercept: int | None,
    family: Family,
    documented: Collection[str] = (),
) -> tuple[CoefficientPriors, tuple[str, ...]]:
    """Priors of every column, and what was changed about them, in words.

    Parameters
    ----------
    given : PriorArguments
    y : array, shape (n,)
    X : array, shape (n, p)
    names : sequence of p str
    intercept : int or None
        The place of the column of ones.
    family : Family
    documented : collection of str
        ``"scaling"`` and ``"intercept"`` are looked at.

    Examples
    --------
    >>> from workbench.families import family_of
    >>> X = np.column_stack([np.ones(4), [0, 0, 5, 5], [1, 2, 3, 4]])
    >>> arguments = (np.array([0.0, 1, 0, 1]), X, ("(Intercept)", "a", "b"), 0, family_of("binomial"))
    >>> coefficient_priors(PriorArguments(), *arguments)[0].scale.round(4).tolist()
    [10.0, 0.5, 0.9682]
    """
    usual = PROBIT if family.link_name == "probit" else 1.0
    scale_given = 2.5 * usual if given.scale is None else given.scale
    for_intercept = 10.0 * usual if given.intercept_scale is None else given.intercept_scale
    if not is_number(given.min_scale) or not 0 <= given.min_scale < np.inf:
        raise PriorError(f"min_prior_scale is {given.min_scale!r}, but must be 0 or more, and finite.")
    mean = _each("prior_mean", given.mean, names, intercept, 0.0, given.intercept_mean)
    df = _each("prior_df", given.df, names, intercept, 1.0, given.intercept_df)
    scale = _each("prior_scale", scale_given, names, intercept, 2.5 * usual, for_intercept)
    _check(mean, scale, df, names)
    joint = _joint_blocks(given.joint, names)
    for places, _, block_mean in joint:
        mean[places] = block_mean
    inside = {int(k) for places, _, _ in joint for k in places}
    notes: tuple[str, ...] = ()
    first = scale
    if given.scaled:
        if family.name == "gaussian":
            scale = scale * _two_sds(y, "the response")
        first, notes = _by_column(scale, X, names, intercept, given.min_scale, inside)
        if family.name != "gaussian" or "scaling" in documented:
            scale = first
    at_means = given.scaled and intercept is not None and intercept not in inside
    priors = CoefficientPriors(
        mean=mean,
        scale=scale,
        df=df,
        first_scale=first,
        centre=X.mean(axis=0) if at_means else None,
        intercept=intercept,
        update_at_means=at_means and "intercept" in documented,
        joint=tuple((places, covariance) for places, covariance, _ in joint),
    )
    return priors, notes


def _by_column(
    scale: Array, X: Array, names: Sequence[str], intercept: int | None, smallest: float, inside: Collection[int]
) -> tuple[Array, tuple[str, ...]]:
    """Scales divided by the spread of each column, none smaller than `smallest`."""
    by = np.ones(len(scale))
    for k in range(len(scale)):
        count = _distinct(X[:, k])
        if k != intercept and count > 1:
            by[k] = np.ptp(X[:, k]) if count == 2 else _two_sds(X[:, k], names[k])
    divided = scale / by
    small = [k for k in range(len(scale)) if divided[k] < smallest and k not in inside]
    notes = tuple(f"The prior scale of {names[k]} was raised to min_prior_scale = {smallest:g}." for k in small)
    return np.maximum(divided, smallest), notes


def _distinct(column: Array) -> int:
    """How many values a column has; rounding makes none (orthogonal polynomials of three levels have two values)."""
    values = np.unique(column)
    return 1 + int(np.sum(np.diff(values) > 1e-13 * np.abs(values).max()))


def _two_sds(values: Array, what: str) -> float:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    if not spread > 0:
        raise DesignError(
            f"Prior scales are to be multiplied by the spread of {what}, but it has none ({values[0]:g} in all "
            f"{len(values):,} rows). Set scaled=False and give the scales in the response's unit."
        )
    return 2 * spread


def _each(
    what: str, given: Values, names: Sequence[str], intercept: int | None, default: float, for_intercept: float
) -> Array:
    """One value for every column, the intercept's in its place; shape (p,)."""
    values = np.empty(len(names))
    rest = [k for k in range(len(names)) if k != intercept]
    if intercept is not None:
        values[intercept] = _number(f"{what}_for_intercept", for_intercept)
    if (by_name := _by_name(given)) is not None:
        known = [names[k] for k in rest]
        for name in by_name:
            if name not in known:
                raise PriorError(f"{what} names {name!r}, {_unknown(what, str(name), known)}")
        values[rest] = [_number(f"{what} of {name}", by_name.get(name, default)) for name in known]
        return values
    try:
        numbers = np.asarray(given)
        if numbers.dtype.kind in "bSU":  # text and truth values would become numbers
            raise TypeError
        numbers = numbers.astype(float)
    except (TypeError, ValueError):
        raise PriorError(f"{what} is {given!r}, but must be a number, or one for each coefficient.") from None
    if numbers.ndim and numbers.shape != (len(rest),):
        raise PriorError(
            f"{what} has shape {numbers.shape}, but there are {len(rest)} coefficients beside the intercept: "
            f"{', '.join(names[k] for k in rest)}. Give one number, one for each of these, or a mapping by name."
        )
    values[rest] = numbers
    return values


def _by_name(given: Values) -> dict[str, Any] | None:
    """A mapping, or a pandas Series whose index is text, as a dict; None for what goes by order."""
    if isinstance(given, Mapping):
        return dict(given)
    labels = getattr(given, "index", None)
    if not hasattr(given, "to_dict") or labels is None or not all(isinstance(label, str) for label in labels):
        return None
    return dict(zip(labels, np.asarray(given).tolist(), strict=True))


def _unknown(what: str, name: str, known: list[str]) -> str:
    if name == "(Intercept)":
        return f"whose prior is given by {what}_for_intercept."
    if not known:
        return "but there are no coefficients beside the intercept."
    return f"which is no coefficient here. {nearest(name, known)}"


def is_number(value: Any) -> TypeGuard[float]:
    """Whether this is one real number; text and truth values are not."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _number(what: str, value: Any) -> float:
    if not is_number(value):
        raise PriorError(f"{what} is {value!r}, but must be a number.")
    return float(value)


def _check(mean: Array, scale: Array, df: Array, names: Sequence[str]) -> None:
    for what, values, good, rule in (
        ("mean", mean, np.isfinite(mean), "finite"),
        ("scale", scale, scale >= 0, "0 or more (inf for a flat prior)"),
        ("df", df, df > 0, "positive (inf for a normal prior)"),
    ):
        if not good.all():
            k = int(np.argmin(good))
            raise PriorError(f"The prior {what} of {names[k]} is {values[k]:g}, but must be {rule}.")


def _joint_blocks(
    given: Mapping[Any, tuple[Any, Any]], names: Sequence[str]
) -> tuple[tuple[NDArray[np.intp], Array, Array], ...]:
    """Places, covariance and mean of every joint block."""
    if not isinstance(given, Mapping):
        raise PriorError(f'prior_joint is {given!r}, but must be a mapping: {{("a", "b"): (mean, covariance)}}.')
    blocks = []
    taken: set[int] = set()
    for key, stated in given.items():
        places = [_place(part, names) for part in (key if isinstance(key, tuple) else (key,))]
        twice = [names[k] for k in places if k in taken or places.count(k) > 1]
        if twice:
            raise PriorError(f"prior_joint names {twice[0]} twice. A coefficient has one prior.")
        taken.update(places)
        try:
            mean, covariance = stated
            mean = np.broadcast_to(np.asarray(mean, dtype=float), (len(places),))
            covariance = np.atleast_2d(np.asarray(covariance, dtype=float))
        except (TypeError, ValueError):
            raise PriorError(
                f"prior_joint[{key!r}] is {stated!r}, but must be (mean, covariance), {len(places)} numbers and a "
                f"{len(places)} x {len(places)} matrix."
            ) from None
        blocks.append((np.array(places), _covariance(covariance, key, len(places)), mean))
        if not np.isfinite(mean).all():
            raise PriorError(f"The mean of prior_joint[{key!r}] is {mean.tolist()}, but must be finite.")
    return tuple(blocks)


def _place(part: Any, names: Sequence[str]) -> int:
    if isinstance(part, str) and part in names:
        return names.index(part)
    if isinstance(part, int | np.integer) and not isinstance(part, bool) and 0 <= part < len(names):
        return int(part)
    raise PriorError(f"prior_joint names {part!r}, which is no coefficient here. {nearest(str(part), names)}")


def _covariance(matrix: Array, key: Any, size: int) -> Array:
    if matrix.shape != (size, size):
        raise PriorError(
            f"The covariance of prior_joint[{key!r}] has shape {matrix.shape}, but must have {(size, size)}."
        )
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, rtol=1e-10, atol=0):
        raise PriorError(f"The covariance of prior_joint[{key!r}] must be finite and symmetric; it is\n{matrix}")
    lowest = float(np.linalg.eigvalsh(matrix)[0])
    if lowest < -1e-10 * float(np.abs(matrix).max()):
        raise PriorError(f"The covariance of prior_joint[{key!r}] has a negative eigenvalue ({lowest:g}); mend it.")
    return matrix

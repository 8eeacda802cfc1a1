"""Running statsmodels: what it says is kept in words, what it breaks off with becomes an error for people."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from workbench.design import Design
from workbench.errors import DesignError
from workbench.words import join, significant

LONG = 10.0
"""Seconds from which on work is announced."""
ABSURD = 1e15
"""No objective of a search that ended anywhere near the data is so large."""
FAR = 5.0
"""A column that goes farther from zero is named where a search ran away."""


def run(what: str, call: Callable[[], Any]) -> tuple[Any, tuple[str, ...]]:
    """Call into statsmodels.

    Parameters
    ----------
    what : str
        Which of its models, for messages.
    call : callable without arguments

    Returns
    -------
    result
        Of the call.
    said : tuple of str
        statsmodels' own warnings, each once; numpy's and scipy's, which its searches raise on their way, are left out.

    Raises
    ------
    DesignError
        statsmodels broke off.

    Examples
    --------
    >>> from statsmodels.tools.sm_exceptions import ConvergenceWarning
    >>> run("MixedLM", lambda: warnings.warn("The MLE may be on the boundary.", ConvergenceWarning))[1]
    ('In its own words: The MLE may be on the boundary.',)
    """
    import numpy as np
    from statsmodels.tools.sm_exceptions import ModelWarning

    with warnings.catch_warnings(record=True) as heard, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        try:
            result = call()
        except (ArithmeticError, ValueError) as error:  # numpy's LinAlgError is a ValueError
            raise DesignError(
                f"statsmodels' {what} broke off: {str(error).rstrip('.')}. Try another optimizer "
                '(options={"optimizer": "bfgs"}, say) or fewer varying terms, or use reml or laplace.'
            ) from error
    said = [" ".join(str(w.message).split()) for w in heard if issubclass(w.category, ModelWarning)]
    return result, tuple(f"In its own words: {text}" for text in dict.fromkeys(said))


def refuse_runaway(what: str, objective: float, design: Design) -> None:
    """Refuse the end of a search whose objective is not a number, or beyond any likelihood, with a DesignError.

    Such searches start with steps of size one, which the exp() of a column far from zero turns into overflow.
    """
    import numpy as np

    if abs(objective) < ABSURD:
        return
    most = zip(design.fixed_terms, np.abs(design.X).max(axis=0).tolist(), strict=True)
    far = join(f"{term} (up to {significant(value)})" for term, value in most if value > FAR)
    advice = f"Columns so far from zero may be why: {far}. Divide them by their SD" if far else "Try another optimizer"
    raise DesignError(f"statsmodels' {what} ran away to numbers without meaning. {advice}, or use laplace.")


def announce(what: str, seconds: float, progress: bool) -> None:
    """Say on stderr that long work begins, where progress is shown."""
    if progress and seconds > LONG:
        about = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
        print(f"statsmodels' {what} may take some {about} here.", file=sys.stderr)

"""The words of a page: what each of its estimators does, and the abbreviations in its tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from workbench.estimators import REGISTRY
from workbench.plots.style import title_of
from workbench.report.cells import Table
from workbench.report.prior_held import whose

if TYPE_CHECKING:
    from workbench.comparison import Comparison

WORDS: Mapping[str, str] = {
    "REML": "restricted maximum likelihood: variances maximise the likelihood with the fixed effects integrated out.",
    "ML": "maximum likelihood: variances and fixed effects maximise the likelihood together.",
    "BLUP": "best linear unbiased prediction: the expected effects of the groups, given the data and the variances.",
    "SE": "standard error.",
    "coefficient SE": "standard error of population value plus effect, the variances taken as known.",
    "conditional SD": "standard deviation of the group effects, given the data and the estimated parameters.",
    "sampling SE": "how far the estimate would spread if the data were drawn anew.",
    "curvature SD": "standard deviation read off the curvature of the log posterior at its mode.",
    "Wald": "an interval of the estimate plus and minus a multiple of its standard error.",
    "ESS": "effective sample size: so many independent draws would tell as much as these do.",
    "R-hat": "how far the chains of a sampler disagree; 1 where they agree.",
    "E-BFMI": "how well a sampler moves between energies; small values mean that it may have missed the tails.",
    "LKJ": "the prior of Lewandowski, Kurowicka and Joe on correlation matrices.",
}
"""What the abbreviations stand for."""


def estimator_words(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """Title and a sentence of what it does, of every estimator of a comparison."""
    said = []
    for name, fit in comparison.fits.items():
        if name == "fixed_prior" and fit.read_from is None:
            what = f"Plugged in: {whose(fit)} as a fixed prior."
        elif name in REGISTRY and fit.read_from is None:
            use = REGISTRY[name].use
            what = f"{use[0].upper()}{use[1:]}."
        else:
            what = f"Read from {fit.read_from}." if fit.read_from else "Computed elsewhere."
        said.append((title_of(name), what))
    return tuple(said)


def abbreviations(tables: Iterable[Table]) -> tuple[tuple[str, str], ...]:
    """The entries of `WORDS` that occur in tables, in a cell with a value, a heading or a note."""
    text = "\n".join(piece for table in tables for piece in _pieces(table))
    return tuple((word, said) for word, said in WORDS.items() if occurs(word, text))


def occurs(word: str, text: str) -> bool:
    """Whether a text has a word as a whole.

    Examples
    --------
    >>> occurs("ML", "REML"), occurs("ML", "by ML."), occurs("LKJ", "LKJ(2)")
    (False, True, True)
    """
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def _pieces(table: Table) -> list[str]:
    """All words of a table; of columns without any value neither the heading nor its explanation."""
    every = [row for row in (*table.rows, *table.foot) if len(row) == len(table.columns)]
    used = [any(row[k].text not in ("", "–") for row in every) for k in range(len(table.columns))]
    heads = [f"{c.title} {c.minor}" for c, there in zip(table.columns, used, strict=True) if there]
    silent = {c.title for c, there in zip(table.columns, used, strict=True) if not there}
    notes = [note for note in (*table.notes, table.sentence) if not any(title in note for title in silent if title)]
    return [table.title, *heads, *(cell.text for row in every for cell in row), *notes]

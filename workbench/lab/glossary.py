"""The words that pages of the lab use, for who meets them for the first time."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.report.glossary import WORDS, occurs

OWN: Mapping[str, str] = {
    "own value": "the estimate of a group from its own rows alone.",
    "no pooling": "every group by itself.",
    "complete pooling": "one value for all groups.",
    "population value": "the common mean that groups are spread about, as estimated.",
    "effect": "how far a group lies from the population value.",
    "coefficient": "the group's own value: population value plus effect.",
    "τ": "the standard deviation of the true values of groups, the spread between groups.",
    "σ": "the standard deviation of rows about their group's true value, the residual SD.",
    "reliability": "τ² / (τ² + σ² / n): the share of a group's own deviation that is not noise, on average.",
    "fixed prior": "a normal prior of every group whose mean and SD are told, not estimated: what bayesglm does.",
    "boundary avoiding": "maximised with a density on τ that is zero at zero, so that the estimate never is (Chung and "
    "others 2013).",
    "full Bayes": "τ and all else have priors, and estimates are averaged over what they may be, given the data.",
    "exact full Bayes": "full Bayes by numerical integration, without a sampler's chance.",
    "posterior": "what is known of a quantity given data and priors, as a distribution.",
    "profile": "how likely each value of one parameter is, all others at their best for it.",
    "criterion": "−2 log likelihood (restricted, for REML): the smaller, the better the data are explained.",
    "Monte Carlo error": "how far a figure would move if the simulation were done again with other random numbers.",
    "effect prediction SE": "standard error of a predicted effect, with the error of the population value.",
    "James-Stein": "shrinks all means by one factor that their spread tells.",
    "ridge": "least squares with a penalty, λ times the squared coefficients.",
    "cross-validation": "choosing λ by how well left-out rows are predicted.",
}


def words_of(text: str) -> tuple[tuple[str, str], ...]:
    """The words that occur in a text, with what they mean.

    Examples
    --------
    >>> [word for word, _ in words_of("REML puts τ at zero")]
    ['τ', 'REML']
    """
    return tuple((word, said) for word, said in {**OWN, **WORDS}.items() if occurs(word, text))

"""Grouped data whose truth is known, and a generator that draws what R draws.

The model, for sample ``i`` of group ``j``::

    m_j        ~ Normal(mean, between_sd^2)        j = 1, ..., J     the true group means
    y_ij | m_j ~ Normal(m_j, within_sd^2)          i = 1, ..., n_j   the samples

=============  ===================  ==========
symbol         name                 shape
=============  ===================  ==========
``m``          ``truth``            (J,)
``n_j``        ``sizes``            (J,)
``y``          ``y``                (n,)
group of y_i   ``group``            (n,)
=============  ===================  ==========

All true means are drawn first, then the samples, group after group.

:class:`RRandom` follows R's default generators, so that a simulation that was published with
``set.seed`` can be had again without R:

1. *Seeding.* The congruential recursion ``x <- 69069 x + 1 (mod 2^32)`` starts at the seed, runs fifty
   times unused, then fills 625 words: the position in the state (overwritten by 624, "all used up")
   and the 624 words of the Mersenne Twister [1]_.
2. *Uniforms.* Each 32-bit word, tempered, times 2^-32; a zero is replaced by half of 1/(2^32 - 1),
   so that every value lies strictly inside (0, 1).
3. *Normals.* Two uniforms make one number of 59 bits, ``(floor(2^27 U1) + U2) / 2^27``, and the normal
   quantile of it is the draw. R takes the quantile from AS 241 [2]_; here it is
   :func:`scipy.special.ndtri`, which lies within 1.1e-15 of it, relatively, from 1e-300 to 1 - 2^-52.

References
----------
.. [1] Matsumoto, M. and Nishimura, T. (1998). Mersenne Twister: a 623-dimensionally equidistributed
   uniform pseudo-random number generator. ACM TOMACS 8, 3-30. doi:10.1145/272991.272995
.. [2] Wichura, M. J. (1988). Algorithm AS 241: the percentage points of the normal distribution.
   Applied Statistics 37, 477-484. doi:10.2307/2347330
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import OptionError

if TYPE_CHECKING:
    import pandas as pd

_WORDS = 624  # words in the state of MT19937
_SEED_LIMIT = 2**31 - 1  # R's integers; -2^31 is its NA
_WORD_TO_UNIT = 2.3283064365386963e-10  # 2^-32
_SMALLEST = 0.5 * 2.328306437080797e-10  # half of 1/(2^32 - 1), in place of an exact zero
_HIGH_BITS = 2.0**27


class RRandom:
    """Uniform and normal draws with the digits of R's ``set.seed(seed)``.

    Stands for R's defaults: ``RNGkind("Mersenne-Twister", "Inversion")``. R's sampling of integers
    (``sample``) is not offered.

    Parameters
    ----------
    seed
        Any integer that R takes: from -2147483647 to 2147483647.

    Raises
    ------
    OptionError
        The seed is no integer or lies outside of that range.

    Notes
    -----
    Uniforms are those of R to the last bit, normals to about 1e-15 relative.

    Examples
    --------
    >>> RRandom(1).rnorm(3).round(4)
    array([-0.6265,  0.1836, -0.8356])
    """

    def __init__(self, seed: int) -> None:
        twister = np.random.MT19937(0)
        twister.state = {
            "bit_generator": "MT19937",
            "state": {"key": _seed_words(_integer(seed, "seed")), "pos": _WORDS},
        }
        self._twister = twister

    def runif(self, n: int, low: ArrayLike = 0.0, high: ArrayLike = 1.0) -> NDArray[np.float64]:
        """Draw n uniforms from (low, high); the bounds are recycled over n as in R.

        Parameters
        ----------
        n
            How many.
        low, high
            Bounds, a number or a vector each. Where they are equal that value is returned and nothing is
            drawn, as in R.

        Returns
        -------
        array of shape (n,)

        Raises
        ------
        OptionError
            A bound is not finite, ``high`` lies below ``low``, or ``n`` is no count.

        Examples
        --------
        >>> RRandom(5).runif(3, 2, 6).round(4)
        array([2.8009, 4.7409, 5.6675])
        """
        n = _count(n)
        lower, upper = _recycled(low, n, "low"), _recycled(high, n, "high")
        if (upper < lower).any():
            at = int(np.argmax(upper < lower))
            raise OptionError(f"runif needs low <= high; got low = {lower[at]:g} and high = {upper[at]:g}.")
        out = lower.copy()
        drawn = upper > lower
        out[drawn] += (upper[drawn] - lower[drawn]) * self._uniforms(int(drawn.sum()))
        return out

    def rnorm(self, n: int, mean: ArrayLike = 0.0, sd: ArrayLike = 1.0) -> NDArray[np.float64]:
        """Draw n normals; means and standard deviations are recycled over n as in R.

        Parameters
        ----------
        n
            How many.
        mean, sd
            A number or a vector each. Where ``sd`` is 0 the mean is returned and nothing is drawn, as in R.

        Returns
        -------
        array of shape (n,)

        Raises
        ------
        OptionError
            A mean or SD is not finite, an SD is negative, or ``n`` is no count.

        Examples
        --------
        >>> RRandom(3).rnorm(4, mean=[0, 10], sd=[1, 2]).round(4)
        array([-0.9619,  9.4149,  0.2588,  7.6957])
        """
        n = _count(n)
        center, scale = _recycled(mean, n, "mean"), _recycled(sd, n, "sd")
        if (scale < 0).any():
            raise OptionError(f"rnorm needs sd >= 0; got {scale[scale < 0][0]:g}.")
        out = center.copy()
        drawn = scale > 0
        out[drawn] += scale[drawn] * _normals(self._uniforms(2 * int(drawn.sum())))
        return out

    def _uniforms(self, n: int) -> NDArray[np.float64]:
        words: NDArray[np.uint64] = self._twister.random_raw(n)
        return _open_unit(words)


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedGroups:
    """A simulated dataset beside the truth it was drawn from; the arrays are read-only.

    Attributes
    ----------
    group : array of shape (n,)
        The group of each sample, from 1 to J.
    y : array of shape (n,)
        The samples, group after group.
    truth : array of shape (J,)
        The true group means.
    sizes : tuple of int
        Samples in each group.
    between_sd, within_sd, mean : float
        What they were drawn with.
    seed : int
        The seed.
    generator : str
        ``"R"`` or ``"numpy"``.

    Examples
    --------
    >>> twelve_groups().sizes
    (100, 100, 100, 100, 100, 100, 2, 2, 2, 2, 2, 2)
    """

    group: NDArray[np.int64]
    y: NDArray[np.float64]
    truth: NDArray[np.float64]
    sizes: tuple[int, ...]
    between_sd: float
    within_sd: float
    mean: float
    seed: int
    generator: Literal["R", "numpy"]

    def to_pandas(self) -> pd.DataFrame:
        """Return the samples as a new table with columns ``group`` and ``samples``.

        Examples
        --------
        >>> twelve_groups().to_pandas().head(2).round(4)
           group  samples
        0      1  -3.7327
        1      1 -11.7000
        """
        import pandas as pd

        return pd.DataFrame({"group": self.group.copy(), "samples": self.y.copy()})

    def truth_table(self) -> pd.DataFrame:
        """Return the true group means as a new table with columns ``level`` (text), ``term`` and ``value``.

        The value is a group's coefficient (population mean + effect), not its effect alone.

        Examples
        --------
        >>> twelve_groups().truth_table().head(2).round(4)
          level         term   value
        0     1  (Intercept) -0.6265
        1     2  (Intercept)  0.1836
        """
        import pandas as pd

        levels = [str(j + 1) for j in range(len(self.sizes))]
        return pd.DataFrame({"level": levels, "term": "(Intercept)", "value": self.truth.copy()})


def simulate_groups(
    sizes: Iterable[int],
    between_sd: float = 1.0,
    within_sd: float = 5.0,
    mean: float = 0.0,
    seed: int = 1,
    generator: Literal["R", "numpy"] = "R",
) -> SimulatedGroups:
    """Draw groups with normal means and normal samples within them (the model of this module).

    Parameters
    ----------
    sizes
        Samples in each group, at least one each.
    between_sd, within_sd
        SD of the true group means, and of the samples about their group's mean; 0 is allowed.
    mean
        Population mean of the group means.
    seed
        For ``"R"`` any integer that R takes; for ``"numpy"`` 0 or more.
    generator
        ``"R"`` gives the digits of R's ``set.seed(seed)`` followed by ``rnorm`` for the means and for
        the samples; ``"numpy"`` is :func:`numpy.random.default_rng`, quicker, whose stream numpy
        does not promise to keep between its versions.

    Returns
    -------
    SimulatedGroups

    Raises
    ------
    OptionError
        No group, a size below 1, an SD that is negative or not finite, or an unknown generator.

    Examples
    --------
    >>> drawn = simulate_groups([3, 1], between_sd=2.0, within_sd=0.5, mean=10.0, seed=9)
    >>> drawn.group
    array([1, 1, 1, 2])
    >>> drawn.truth.round(4)
    array([8.4664, 8.3671])
    """
    counts = _sizes(sizes)
    between_sd, within_sd = _spread(between_sd, "between_sd"), _spread(within_sd, "within_sd")
    mean, seed = _finite(mean, "mean"), _integer(seed, "seed")

    n_groups = len(counts)
    if generator == "R":
        r = RRandom(seed)
        truth = r.rnorm(n_groups, mean, between_sd)
        y = r.rnorm(sum(counts), np.repeat(truth, counts), within_sd)
    elif generator == "numpy":
        if seed < 0:
            raise OptionError(f'The "numpy" generator takes a seed of 0 or more; got {seed}.')
        rng = np.random.default_rng(seed)
        truth = mean + between_sd * rng.standard_normal(n_groups)
        y = np.repeat(truth, counts) + within_sd * rng.standard_normal(sum(counts))
    else:
        raise OptionError(f'The generator is "R" or "numpy"; got {generator!r}.')

    group = np.repeat(np.arange(1, n_groups + 1, dtype=np.int64), counts)
    for array in (group, y, truth):
        array.setflags(write=False)
    return SimulatedGroups(group, y, truth, counts, between_sd, within_sd, mean, seed, generator)


def twelve_groups(seed: int = 1) -> SimulatedGroups:
    """Draw the twelve groups: six of 100 samples and six of 2, SD 1 between and 5 within.

    With seed 1 these are the data of the Cross Validated answer that the project starts from
    (https://stats.stackexchange.com/questions/362777).

    Examples
    --------
    >>> twelve_groups().truth[:3].round(4)
    array([-0.6265,  0.1836, -0.8356])
    """
    return simulate_groups((100,) * 6 + (2,) * 6, between_sd=1.0, within_sd=5.0, seed=seed)


def _seed_words(seed: int) -> NDArray[np.uint32]:
    """Give the 624 words of state that R makes of a seed."""
    if not -_SEED_LIMIT <= seed <= _SEED_LIMIT:
        raise OptionError(f"R takes seeds from {-_SEED_LIMIT} to {_SEED_LIMIT}; got {seed}.")
    x = seed % 2**32
    words = np.empty(1 + _WORDS, dtype=np.uint32)
    for k in range(-50, 1 + _WORDS):
        x = (69069 * x + 1) % 2**32
        if k >= 0:
            words[k] = x
    return words[1:]  # the first is the position, which R overwrites


def _open_unit(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Map 32-bit words into (0, 1), both ends excluded; the largest, 1 - 2^-32, needs no care."""
    return np.where(words == 0, _SMALLEST, words * _WORD_TO_UNIT)


def _normals(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn 2n uniforms, pair by pair, into n standard normals by inversion."""
    from scipy.special import ndtri

    high, low = uniforms[0::2], uniforms[1::2]
    draws: NDArray[np.float64] = ndtri((np.floor(_HIGH_BITS * high) + low) / _HIGH_BITS)
    return draws


def _recycled(values: ArrayLike, n: int, name: str) -> NDArray[np.float64]:
    """Repeat values to length n as R does; a finite copy of the caller's."""
    try:
        given = np.atleast_1d(np.asarray(values, dtype=np.float64)).ravel()
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"{name} must be a number or a vector of numbers; got {values!r}.") from None
    if given.size == 0:
        raise OptionError(f"{name} is empty; give at least one number.")
    if not np.isfinite(given).all():
        raise OptionError(f"{name} must be finite; got {given[~np.isfinite(given)][0]:g}.")
    return np.resize(given, n)


def _integer(value: int, name: str) -> int:
    try:
        return index(value)
    except TypeError:
        raise OptionError(f"{name} must be an integer; got {value!r}.") from None


def _count(n: int) -> int:
    n = _integer(n, "n")
    if n < 0:
        raise OptionError(f"n, the number of draws, must be 0 or more; got {n}.")
    return n


def _sizes(sizes: Iterable[int]) -> tuple[int, ...]:
    if isinstance(sizes, (str, bytes)) or not isinstance(sizes, Iterable):
        raise OptionError(f"sizes must be a list of group sizes such as [100, 2]; got {sizes!r}.")
    counts = tuple(_integer(size, "A group's size") for size in sizes)
    if not counts:
        raise OptionError("sizes is empty; give the size of at least one group.")
    if min(counts) < 1:
        raise OptionError(f"Every group needs at least 1 sample; got a size of {min(counts)}.")
    return counts


def _finite(value: float, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"{name} must be a number; got {value!r}.") from None
    if not np.isfinite(number):
        raise OptionError(f"{name} must be finite; got {number:g}.")
    return number


def _spread(value: float, name: str) -> float:
    number = _finite(value, name)
    if number < 0:
        raise OptionError(f"{name} is a standard deviation and cannot be negative; got {number:g}.")
    return number

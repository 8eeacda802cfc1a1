"""Threads during the search for theta: limited where they would only wait, and given back whatever happens."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from workbench import optimum as module
from workbench.design import build_design
from workbench.moments import moments
from workbench.optimum import optimum


def blas_threads():
    return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture
def two_threads():
    """Two threads for every BLAS, whatever the machine has; one core's would make the tests say nothing."""
    with threadpool_limits(2, user_api="blas"):
        if set(blas_threads().values()) != {2}:
            pytest.skip("threadpoolctl cannot set this BLAS to two threads")
        yield


@pytest.fixture
def search(monkeypatch):
    """What `_threads` sees during the search, of two crossed factors that count as large on two cores."""
    seen = []
    search = module._search

    def watched(*arguments):
        seen.append(set(blas_threads().values()))
        return search(*arguments)

    monkeypatch.setattr(module, "_search", watched)
    monkeypatch.setattr(module, "THREADED", 0)
    monkeypatch.setattr(module, "_cores", lambda: 2)
    return seen


def crossed(formula="y ~ 1 + (1 | a) + (1 | b)"):
    rng = np.random.default_rng(0)
    a, b = np.repeat(np.arange(6), 5), np.tile(np.arange(5), 6)
    y = rng.normal(size=6)[a] + rng.normal(size=5)[b] + rng.normal(size=30)
    return moments(build_design(formula, {"y": y, "a": a, "b": b}))


def test_large_searches_on_two_cores_take_one_thread_and_give_it_back(two_threads, search):
    optimum(crossed(), restricted=True)
    assert search == [{1}]
    assert set(blas_threads().values()) == {2}


def test_threads_come_back_after_an_error(two_threads, search, monkeypatch):
    def fails(*arguments):
        search.append(set(blas_threads().values()))
        raise FloatingPointError("in the search")

    monkeypatch.setattr(module, "_search", fails)
    with pytest.raises(FloatingPointError, match="in the search"):
        optimum(crossed(), restricted=True)
    assert search == [{1}]
    assert set(blas_threads().values()) == {2}


@pytest.mark.parametrize("case", ["small", "one factor", "more cores"])
def test_threads_stay_as_they_are_where_they_do_no_harm(case, two_threads, search, monkeypatch):
    if case == "small":
        monkeypatch.setattr(module, "THREADED", 26)  # R'W R has 5 x 5 entries
    if case == "more cores":
        monkeypatch.setattr(module, "_cores", lambda: 3)
    optimum(crossed("y ~ 1 + (1 | a)" if case == "one factor" else "y ~ 1 + (1 | a) + (1 | b)"), restricted=True)
    assert search == [{2}]


def test_exactly_so_many_entries_count_as_large(two_threads, search, monkeypatch):
    monkeypatch.setattr(module, "THREADED", 25)
    optimum(crossed(), restricted=True)
    assert search == [{1}]

"""What draws say of themselves. Rungs: ArviZ's E-BFMI, a closed form, nothing said of what is not known."""

import numpy as np
import pytest

from workbench.sampling.diagnostics import complaints, diagnose, energy_fraction, from_draws
from workbench.sampling.draws import Draws


def drawn(energy=None, depth=None, chains=4, draws=500, **stats):
    rng = np.random.default_rng(3)
    b = rng.normal(size=(chains, draws, 1))
    if energy is not None:
        stats |= {"energy": energy}
    if depth is not None:
        stats |= {"tree_depth": depth, "reached_max_treedepth": depth == 10}
    found = Draws(b, None, (), (), (), stats=stats)
    return found, [from_draws(b, 0.95)]


def walk(keep, shape=(4, 500)):
    """Energies that each keep a share of the one before: stationary, autocorrelation `keep`."""
    rng = np.random.default_rng(1)
    made = np.empty(shape)
    made[:, 0] = rng.normal(size=shape[0])
    for k in range(1, shape[1]):
        made[:, k] = keep * made[:, k - 1] + np.sqrt(1 - keep**2) * rng.normal(size=shape[0])
    return made


def test_the_energy_fraction_is_arvizs():
    import arviz as az

    energy = walk(0.5)
    tree = az.from_dict({"posterior": {"x": energy}, "sample_stats": {"energy": energy}})
    np.testing.assert_allclose(energy_fraction(energy), az.bfmi(tree)["energy"].values, rtol=1e-12)
    # steps of an autoregression have 2 (1 - keep) times its variance; 500 draws leave some 10 % of scatter
    np.testing.assert_allclose(energy_fraction(energy), 1.0, rtol=0.35)


def test_one_bad_chain_is_enough_and_the_words_say_what_to_do():
    energy = walk(0.0)
    energy[2] = walk(0.97)[2]
    d = diagnose(*drawn(energy, diverging=np.zeros((4, 500), bool)))
    assert d["e_bfmi"] == energy_fraction(energy)[2] < 0.3
    (said,) = complaints(d)
    assert f"E-BFMI is down to {d['e_bfmi']:.2f} (below 0.3)" in said
    assert "Try a prior with a shorter tail" in said


def test_a_depth_that_was_reached_counts_only_where_chains_do_not_suffice():
    depth = np.full((4, 500), 7)
    depth[1, :30] = 10
    d = diagnose(*drawn(walk(0.0), depth))
    assert (d["tree_depth"], d["max_tree_depth_reached"]) == (10, 30)
    assert complaints(d) == []
    said = complaints(d | {"ess_bulk": 90.0})
    assert len(said) == 2
    assert "30 of 2,000 draws reached the largest tree depth" in said[1]


@pytest.mark.parametrize("energy", [None, np.full((4, 500), 2.5), np.full((4, 500), np.nan)])
def test_of_what_no_sampler_said_there_is_no_figure(energy):
    d = diagnose(*drawn(energy))
    assert set(d) == {"r_hat", "ess_bulk", "ess_tail", "chains", "draws"}
    assert complaints(d) == []


def test_the_collapsed_model_is_not_told_to_change_a_parametrisation_it_does_not_have():
    d = {"r_hat": 1.2, "ess_bulk": 90.0, "divergences": 3, "e_bfmi": 0.1, "max_tree_depth_reached": 4} | {
        "chains": 4, "draws": 500
    }  # fmt: skip
    assert sum("parametrisation" in said for said in complaints(d)) == 3
    assert not any("parametrisation" in said for said in complaints(d | {"model": "collapsed"}))
    assert "3 divergences: part of the posterior may be missed. Try tighter priors." in complaints(
        d | {"model": "collapsed"}
    )

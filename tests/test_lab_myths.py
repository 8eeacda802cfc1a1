"""Myths: claims that are checked on data, without a browser.

Rungs: closed forms of the one-way model, from means and REML's public variances; the law of total variance, exact at
REML's maximum; true values of simulated groups; and for every claim data on which it holds and data on which it fails.
"""

import numpy as np
import pytest

import workbench as wb
from workbench.design import build_design
from workbench.errors import DesignError
from workbench.lab import claims, render
from workbench.lab.controls import Token, values
from workbench.lab.datasets import Brought, dataset
from workbench.lab.drawing import Area
from workbench.lab.pages import PAGES, myths
from workbench.lab.uploads import SHELF, read_table
from workbench.simulate import simulate_groups

TWELVE = (100,) * 6 + (2,) * 6


def shown(**asked):
    query = {name: str(value) for name, value in asked.items()}
    return myths.PAGE.show(values(myths.PAGE.controls(query), query))


def opened(*keys, **asked):
    """The cards after their buttons were pressed."""
    cards = {card.key: card for card in shown(**asked).cards}
    pressed = {}
    for key in keys:
        pressed |= cards[key].steps[0].change
    return {card.key: card for card in shown(**asked, **pressed).cards}


def cells(table):
    return {key: dict(zip(table.columns, row, strict=True)) for key, row in table.rows}


def number(text):
    return float(text.replace("−", "-").replace(",", ""))


def simulated(sizes=TWELVE, between=1.0, within=5.0, seed=1):
    """A case and its public counterparts: own means, sizes, tau^2, sigma^2, mu, true values."""
    drawn = simulate_groups(sizes, between, within, seed=seed)
    rows = {"y": drawn.y, "g": [f"{g:03d}" for g in drawn.group]}
    fit = wb.fit("y ~ 1 + (1 | g)", rows, estimator="reml")
    tau2, sigma2 = fit.variance["vcov"].tolist()
    own = np.array([drawn.y[drawn.group == g].mean() for g in np.unique(drawn.group)])
    mu = float(fit.fixed["estimate"].iloc[0])
    return (
        claims.case(build_design("y ~ 1 + (1 | g)", rows), drawn.truth),
        own,
        np.array(sizes),
        tau2,
        sigma2,
        mu,
        drawn,
    )


# --- predict first ------------------------------------------------------------------------------------


def test_no_answer_is_seen_before_its_button_is_pressed():
    found = shown()
    assert [card.key for card in found.cards] == ["root", "smallest", "spread", "ridge"]
    for card in found.cards:
        assert (card.verdict, card.says, card.drawings, card.numbers) == ("", (), (), ())
        assert [step.label for step in card.steps] == ["Check it on these data"]
    html = render.part(myths.PAGE, {})
    for word in ("True here", "False here", "Half of it", "REML finds"):
        assert word not in html
    assert not found.warnings  # that a variance is zero is an answer, too
    assert not shown(data="eight_schools").warnings


def test_a_button_opens_one_answer_and_closes_it():
    cards = opened("spread")
    assert cards["spread"].verdict
    assert [key for key, card in cards.items() if card.verdict] == ["spread"]
    assert dict(cards["spread"].steps[0].change) == {"spread": ""}


def test_other_data_hide_the_answers_again():
    pressed = dict(next(card for card in shown().cards if card.key == "root").steps[0].change)
    assert not any(card.verdict for card in shown(data="baseball", **pressed).cards)
    one = dict(next(card for card in shown(data="simulated").cards if card.key == "root").steps[0].change)
    assert next(card for card in shown(data="simulated", **one).cards if card.key == "root").verdict
    assert not any(card.verdict for card in shown(data="simulated", seed=2, **one).cards)


def test_a_token_that_no_button_sets_gets_a_sentence():
    assert "must be letters and digits" in render.part(myths.PAGE, {"root": "<b>"})
    assert sum(isinstance(control, Token) for control in myths.PAGE.controls({})) == 4
    assert 'type="hidden" id="root"' in render.whole(myths.PAGE, PAGES, {})


# --- the square-root rule -----------------------------------------------------------------------------


def test_the_square_root_rules_numbers_are_the_closed_forms():
    case, own, sizes, tau2, sigma2, _, drawn = simulated()
    kept = tau2 / (tau2 + sigma2 / sizes)
    centre = drawn.y.mean()
    rule = centre + np.sqrt(kept) * (own - centre)
    found = claims.square_root(case)
    np.testing.assert_allclose(found.estimate, rule, rtol=1e-6)
    assert found.spread == pytest.approx(np.sqrt(np.mean((rule - centre) ** 2)), rel=1e-6)
    assert case.error(found.estimate) == pytest.approx(np.mean((rule - drawn.truth) ** 2), rel=1e-6)
    assert found.expected[1] == pytest.approx(np.mean(kept * sigma2 / sizes), rel=1e-6)  # k v = (1 - k) tau^2
    table = cells(opened("root", data="twelve_groups")["root"].numbers[0])
    reml = np.mean((case.shrunken - drawn.truth) ** 2)
    assert number(table["square-root"]["mean squared error"]) == pytest.approx(
        np.mean((rule - drawn.truth) ** 2), rel=1e-3
    )
    assert number(table["reml"]["mean squared error"]) == pytest.approx(reml, rel=1e-3)


@pytest.mark.parametrize(("seed", "answer"), [(1, "false"), (2, "half"), (7, "true"), (37, "open")])
def test_the_square_root_rule_is_judged_by_spread_and_error(seed, answer):
    case, own, sizes, tau2, sigma2, _, drawn = simulated(seed=seed)
    verdict = claims.square_root(case).verdict
    assert verdict.answer == answer
    if answer == "open":
        assert tau2 == 0
        return
    kept, centre = tau2 / (tau2 + sigma2 / sizes), drawn.y.mean()
    rule = centre + np.sqrt(kept) * (own - centre)
    right = abs(np.sqrt(np.mean((rule - centre) ** 2) / np.var(drawn.truth)) - 1) <= 0.1
    better = np.mean((rule - drawn.truth) ** 2) <= np.mean((case.shrunken - drawn.truth) ** 2)
    assert answer == {2: "true", 1: "half", 0: "false"}[int(right) + int(better)]
    assert ("the right spread" in verdict.words) == (right and not better)


def test_batters_seasons_are_the_truth_and_dyestuff_has_none():
    card = opened("root", data="baseball")["root"]
    assert "0.00121" in " ".join(card.says)
    unknown = opened("root", data="dyestuff")["root"]
    assert unknown.verdict == "The spread is right here; the rest cannot be seen."
    assert "not known" in unknown.says[1]
    assert cells(unknown.numbers[0])["reml"]["mean squared error"] == "–"


# --- the smallest group -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "seed", "within", "answer"),
    [(TWELVE, 1, 5.0, "true"), ((2,) * 4 + (10,) * 4 + (50,) * 4, 1, 2.0, "half"),
     ((2,) * 4 + (10,) * 4 + (50,) * 4, 17, 2.0, "false"), ((3,) * 5, 1, 2.0, "open")],
)  # fmt: skip
def test_who_moves_most_is_seen_in_the_moves(sizes, seed, within, answer):
    case, own, n, tau2, sigma2, mu, _ = simulated(sizes, within=within, seed=seed)
    found = claims.smallest_moves_most(case)
    move = (1 - tau2 / (tau2 + sigma2 / n)) * np.abs(own - mu)
    np.testing.assert_allclose(found.move, move, rtol=1e-5, atol=1e-9)
    small = n == n.min()
    if small.all():
        wanted = "open"
    elif move[small].min() > move[~small].max():
        wanted = "true"
    else:
        wanted = "half" if small[np.argmax(move)] else "false"
    assert found.verdict.answer == wanted == answer


def test_with_known_errors_the_smallest_is_the_least_certain():
    card = opened("smallest", data="eight_schools")["smallest"]
    assert card.verdict == "False here: a larger group moves most."
    assert "Group A (standard error 15.0) moves farthest, by 20.3" in card.says[0]  # 28 to REML's 7.69, tau = 0
    assert "loses all of its deviation" in card.says[1]


# --- the spread ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 7, 12])
def test_variances_add_up_to_tau_squared(seed):
    """E(u^2 | y) averaged over groups is tau^2 where the restricted likelihood is stationary."""
    case, own, n, tau2, sigma2, mu, _ = simulated(seed=seed)
    found = claims.right_spread(case)
    kept = tau2 / (tau2 + sigma2 / n)
    of_mean = 1 / np.sum(1 / (tau2 + sigma2 / n))
    wanted = (np.mean((kept * (own - mu)) ** 2), np.mean((1 - kept) * tau2), np.mean(kept**2) * of_mean)
    np.testing.assert_allclose(found.parts, wanted, rtol=1e-5)
    assert sum(found.parts) == pytest.approx(tau2, rel=1e-6)


@pytest.mark.parametrize(
    ("sizes", "within", "seed", "answer"),
    [(TWELVE, 5.0, 1, "false"), (TWELVE, 5.0, 26, "true"), ((400,) * 9, 1.0, 3, "true"), ((3,) * 5, 2.0, 2, "open")],
)
def test_the_spread_is_right_where_groups_are_known_well(sizes, within, seed, answer):
    case, own, n, tau2, sigma2, mu, drawn = simulated(sizes, within=within, seed=seed)
    found = claims.right_spread(case)
    if tau2 > 0:
        kept = tau2 / (tau2 + sigma2 / n)
        ratio = np.sqrt(np.mean((kept * (own - mu)) ** 2) / np.var(drawn.truth))
        assert answer == ("true" if abs(ratio - 1) <= 0.1 else "false")
    assert found.verdict.answer == answer


def test_the_bar_of_variances_ends_at_tau_squared():
    card = opened("spread", data="dyestuff")["spread"]
    areas = [mark for mark in card.drawings[1].rows[0][0].marks if isinstance(mark, Area)]
    assert areas[0].x[0] == 0
    assert areas[-1].x[1] == pytest.approx(1764.05, rel=1e-6)  # lme4: 42.0006^2


# --- ridge --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "answer"), [("dyestuff", "true"), ("twelve_groups", "half")])
def test_ridge_is_remls_at_one_lambda_and_cross_validations_is_another(key, answer):
    design = dataset(key).design
    case = claims.case(design)
    found = claims.ridge_is_the_same(case)
    sd, sigma = case.fit.components[0].sd[0], case.fit.sigma
    assert found.strength == pytest.approx((sigma / sd) ** 2, rel=1e-9)
    assert found.gap < 1e-9
    assert found.verdict.answer == answer
    # ridge at a stated lambda, by the normal equations
    codes = design.blocks[0].codes
    Z = np.eye(codes.max() + 1)[codes]
    X = np.column_stack([np.ones(len(codes)), Z])
    for strength, estimate, gap in zip(found.strengths, found.estimates, found.gaps, strict=True):
        penalty = np.diag([0.0, *np.full(Z.shape[1], strength)])
        b = np.linalg.solve(X.T @ X + penalty, X.T @ design.y)
        np.testing.assert_allclose(estimate, b[0] + b[1:], rtol=1e-6, atol=1e-8)
        assert gap == pytest.approx(np.abs(b[0] + b[1:] - case.shrunken).max(), rel=1e-5)
    smallest = case.fit.group_effects[0].coefficient.std_error.min()
    assert (max(found.gaps) <= 0.1 * smallest) == (answer == "true")


def test_ridge_would_be_called_false_if_it_were_not_the_same():
    case = claims.case(dataset("dyestuff").design)
    assert claims._judge_ridge(case, 1.4, 0.01, (1.4,), (0.0,), 0.1).answer == "false"


def test_ridge_says_when_a_group_is_one_row_and_how_long_it_took():
    says = opened("ridge", data="eight_schools")["ridge"].says
    assert any("leaves nothing of its group" in said for said in says)
    assert " s." in says[1]


# --- tables -------------------------------------------------------------------------------------------


def test_a_brought_table_is_checked_without_a_truth():
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(6), [3, 4, 5, 6, 7, 8])
    y = rng.normal(0, 2, 6)[group] + rng.normal(0, 1, len(group))
    lines = [f"{a:.4f},<{b}>" for a, b in zip(y, group, strict=True)]
    table = read_table("mine.csv", "\n".join(["y,g", *lines]).encode())
    key = Brought(SHELF.put(table), 0, 1, None).key
    cards = opened("root", "smallest", "spread", data=key)
    assert all(cards[name].verdict for name in ("root", "smallest", "spread"))
    assert "not known" in shown(data=key).says[0]


def test_a_table_with_a_slope_is_refused_in_words():
    with pytest.raises(DesignError, match="This page"):
        claims.case(dataset("sleepstudy").design)
    assert "Data is &#39;sleepstudy&#39;, but must be one of" in render.part(myths.PAGE, {"data": "sleepstudy"})


def test_too_large_a_table_is_not_cross_validated():
    case, *_ = simulated((2,) * 51, within=1.0)
    found = claims.ridge_is_the_same(case)
    assert (found.verdict.answer, found.strengths) == ("open", ())
    assert found.gap < 1e-9
    assert "this table has more" in found.verdict.says[1]
    card = opened("ridge", data="simulated", sizes="2x51", within=1)["ridge"]
    assert [row["λ from"] for row in cells(card.numbers[0]).values()] == ["σ² / τ²"]

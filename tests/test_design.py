"""Formula x data -> design. Rungs: closed form, R's documented behaviour."""

import numpy as np
import pytest

from workbench.design import build_design
from workbench.errors import DesignError, OptionError

TABLE = {
    "y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0, 5.0, 9.0],
    "x": [0.0, 1.0, 0.0, 1.0, 2.0, 1.0, 3.0, 0.5],
    "g": list("aabbccdd"),
    "h": list("uvuvuvuv"),
    "w": [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 0.0, 0.0],
    "same": [5.0] * 8,
    "text": ["1.0", "2", "x", "3", "4", "5", "6", "7"],
    "one": ["k"] * 8,
    "row": list(range(8)),
    "huge": [k * 1e200 for k in range(8)],
}


def test_coefficients_are_matched_to_population_columns_by_name():
    design = build_design("y ~ x + (1 + x | h)", TABLE)
    (block,) = design.blocks
    assert block.terms == ("(Intercept)", "x")
    assert block.fixed == (0, 1)
    assert build_design("y ~ 1 + (1 + x | h)", TABLE).blocks[0].fixed == (0, None)


def test_nested_groups_are_labelled_as_lme4_labels_them():
    table = TABLE | {"cask": list("aabbaabb"), "batch": list("AAAABBBB")}
    design = build_design("y ~ 1 + (1 | batch/cask)", table)
    assert list(design.groups.items()) == [("cask:batch", 4), ("batch", 2)]
    assert design.blocks[0].levels == ("a:A", "a:B", "b:A", "b:B")
    np.testing.assert_array_equal(design.blocks[0].codes, [0, 0, 2, 2, 1, 1, 3, 3])


def test_columns_explained_by_those_before_are_dropped_and_named():
    design = build_design("y ~ x + I(2*x) + same + (1 | g)", TABLE)
    assert design.fixed_terms == ("(Intercept)", "x")
    assert design.aliased == ("I(2 * x)", "same")
    assert any("I(2 * x), same" in note for note in design.notes)


def test_rows_of_weight_zero_are_left_out_with_their_levels():
    design = build_design("y ~ 1 + (1 | g)", TABLE, weights="w")
    assert design.n == 6
    assert design.blocks[0].levels == ("a", "b", "c")
    assert design.rows.sentence() == "8 rows read, 2 dropped (weight zero: 2), 6 kept"


def test_weights_offsets_and_errors_may_be_columns_or_arrays():
    by_name = build_design("y ~ 1 + (1 | g)", TABLE, weights="w", offset="x")
    by_array = build_design("y ~ 1 + (1 | g)", TABLE, weights=np.array(TABLE["w"]), offset=TABLE["x"])
    np.testing.assert_array_equal(by_name.weights, by_array.weights)
    np.testing.assert_array_equal(by_name.offset, by_array.offset)
    inside = build_design("y ~ 1 + offset(x) + (1 | g)", TABLE, weights="w")
    np.testing.assert_array_equal(by_name.offset, inside.offset)
    known = build_design("y ~ 1 + (1 | row)", TABLE, se=np.full(8, 2.0))
    assert known.known_se
    np.testing.assert_array_equal(known.weights, np.full(8, 0.25))


@pytest.mark.parametrize(
    ("terms", "pair"),
    [
        ("(h || g)", "(1 | g) and (0 + h | g)"),
        ("(1 | g) + (0 + h | g)", "(1 | g) and (0 + h | g)"),
        ("(0 + x:h | g) + (0 + x | g)", "(0 + x | g) and (0 + x:h | g)"),
        ("(h | g)", None),
        ("(x || g)", None),
        ("(1 | g) + (1 | g:h)", None),
    ],
)
def test_a_spread_that_two_terms_hold_is_noted(terms, pair):
    # by hand: the indicators of h sum to one, so tau^2 on (1 | g) is tau^2 on every covariance of (0 + h | g)
    table = {name: values * 4 for name, values in TABLE.items() if name != "row"}
    notes = build_design(f"y ~ 1 + {terms}", table).notes
    assert [note.split(" cannot be told apart")[0] for note in notes] == ([pair] if pair else [])


@pytest.mark.parametrize("name", ["weights", "offset", "se"])
def test_an_array_does_not_replace_a_column_of_the_same_name(name):
    table = TABLE | {name: TABLE["x"]}
    design = build_design(f"y ~ `{name}` + (1 | g)", table, **{name: np.ones(8)})
    np.testing.assert_array_equal(design.X[:, 1], TABLE["x"])


def test_what_the_user_does_to_an_array_later_does_not_reach_the_design():
    weights = np.ones(8)
    design = build_design("y ~ x + (1 | g)", TABLE, weights=weights)
    weights[:] = 99
    assert (design.weights == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        design.y[0] = 5


def test_a_predictor_far_from_its_origin_is_kept():
    table = TABLE | {"time": 1.7e9 + np.array(TABLE["x"])}
    design = build_design("y ~ time + (1 | g)", table)
    assert design.fixed_terms == ("(Intercept)", "time")


def test_an_array_beside_the_table_loses_the_same_rows():
    table = TABLE | {"y": [1.0, np.nan, 4.0, 3.0, 7.0, 6.0, 5.0, 9.0]}
    design = build_design("y ~ 1 + (1 | g)", table, weights=np.arange(1.0, 9.0))
    np.testing.assert_array_equal(design.weights, [1, 3, 4, 5, 6, 7, 8])


@pytest.mark.parametrize(
    ("formula", "options", "said"),
    [
        ("y ~ x", {}, "has no random term"),
        ("text ~ 1 + (1 | g)", {}, "The response text holds labels (the first value is '1.0')"),
        ("same ~ 1 + (1 | g)", {}, "is constant (5 in all 8 rows)"),
        ("y ~ 1 + (1 | one)", {}, "has 1 level ('k')"),
        ("y ~ 1 + (1 | row)", {}, "has 8 levels in 8 rows"),
        ("y ~ x + (x | g)", {}, "needs 8 group effects, but there are 8 rows"),
        ("y ~ 1 + (1 | g) + (1 | g)", {}, "twice"),
        ("y ~ 1 + (1 | g)", {"offset": "y"}, "less its offset is constant"),
        ("huge ~ 1 + (1 | g)", {}, "Change its unit"),
        ("y ~ 1 + (1 | g)", {"weights": "g"}, "g must be numbers"),
        ("y ~ 1 + (1 | g)", {"weights": [-1.0] * 8}, "weights must be positive, but is -1 in data row 1"),
        ("y ~ 1 + (1 | g)", {"se": "w"}, "se must be positive, but is 0 in data row 7"),
        ("cbind(y, x) ~ 1 + (1 | g)", {}, "binomial"),
    ],
)
def test_designs_that_mislead_are_refused(formula, options, said):
    with pytest.raises(DesignError) as caught:
        build_design(formula, TABLE, **options)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"family": "gausian"}, "There is no family 'gausian'. Did you mean 'gaussian'?"),
        ({"link": "log"}, "The gaussian family has no link 'log'"),
        ({"se": "w", "weights": "w"}, "Both weights and se"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, said):
    with pytest.raises(OptionError) as caught:
        build_design("y ~ 1 + (1 | g)", TABLE, **options)
    assert said in str(caught.value)

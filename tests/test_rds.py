"""Files of R's saveRDS (tests/data/rds/make.R): the same fits as from text, levels in R's order, refusals in words."""

import numpy as np
import pytest
from corpus import DATA

import workbench as wb
from workbench.data import as_factor, read
from workbench.errors import DataError

RDS = DATA / "rds"


def test_a_fit_from_rds_is_that_from_text():
    formula = "Reaction ~ Days + (Days | Subject)"
    one, other = (wb.fit(formula, path, "reml") for path in (RDS / "sleepstudy.rds", DATA / "datasets/sleepstudy.csv"))
    assert one.effects["level"].tolist() == other.effects["level"].tolist()
    np.testing.assert_array_equal(one.effects["estimate"], other.effects["estimate"])


@pytest.mark.parametrize("name", ["mixed.rds", "tibble.rds"])
def test_columns_are_what_they_are_in_r(name):
    assert as_factor(read(RDS / name, ["o"])["o"]).levels == ("lo", "hi")  # not in the order of the alphabet
    table = read(RDS / name, ["f"])
    assert as_factor(table["f"]).levels == ("b", "a")
    assert table.rows.missing == (("f", 1),)
    table = read(RDS / name, ["y one", "k", "s", "l", "t"])
    assert len(table) == 2
    assert table["y one"].numbers.tolist() == [1.5, 2.0]
    assert table["k"].numbers.tolist() == [1.0, 3.0]
    assert as_factor(table["s"]).levels == ("x", "ü")
    assert table["t"].numbers.tolist() == [18262.0, 18264.0]  # days since 1970


def test_what_is_no_data_frame_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no data frame, but what R reads as a list"):
        read(RDS / "list.rds", ["a"])
    path = tmp_path / "broken.rds"
    path.write_text("Reaction,Days\n1,2\n")
    with pytest.raises(DataError, match="cannot be read as RDS"):
        read(path, ["Days"])
    path.write_bytes((RDS / "mixed.rds").read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read as RDS"):
        read(path, ["k"])
    with pytest.raises(DataError, match="has no column 'days'"):
        read(RDS / "sleepstudy.rds", ["days"])

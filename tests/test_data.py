"""Reading tables. Rungs: closed form (small tables by hand), invariance over dataframe libraries."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from workbench.data import Factor, Numeric, as_factor, read
from workbench.errors import DataError

COLUMNS = {
    "y": [1.5, None, 3.0, 4.0],
    "count": [3, 1, 2, None],
    "g": ["b", "a", None, "b"],
    "yes": [True, False, True, True],
}
BACKENDS = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "lazy polars": lambda d: pl.DataFrame(d).lazy(),
    "arrow": pa.table,
    "mapping": dict,
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_with_missing_values_are_dropped_and_accounted_for(backend):
    table = read(BACKENDS[backend](COLUMNS), ["y", "count", "g", "yes"])
    assert table.rows.read == 4
    assert table.rows.kept == len(table) == 1
    assert table.rows.missing == (("y", 1), ("count", 1), ("g", 1))
    assert table.rows.sentence() == "4 rows read, 3 dropped (missing: y 1, count 1, g 1), 1 kept"
    assert table.kept.tolist() == [0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_columns_that_the_model_does_not_use_drop_nothing(backend):
    table = read(BACKENDS[backend](COLUMNS), ["yes", "g"])
    assert table.rows.dropped == 1
    assert table["g"].levels == ("a", "b")
    assert table["g"].codes.tolist() == [1, 0, 1]
    assert table["yes"].levels == ("FALSE", "TRUE")


def test_categories_keep_their_order_and_lose_unused_levels():
    ordered = pd.Categorical(["lo", "hi", "lo"], ["lo", "mid", "hi"], ordered=True)
    frame = pd.DataFrame({"o": ordered, "c": pd.Categorical(list("zax"), list("zyxa"))})
    table = read(frame, ["o", "c"])
    assert (table["o"].levels, table["o"].ordered) == (("lo", "hi"), True)
    assert (table["c"].levels, table["c"].ordered) == (("z", "x", "a"), False)
    enum = read(pl.DataFrame({"e": pl.Series(list("zax"), dtype=pl.Enum(list("zyxa")))}), ["e"])["e"]
    assert (enum.levels, enum.codes.tolist(), enum.ordered) == (("z", "x", "a"), [0, 2, 1], False)


def test_numbers_as_groups_ascend_and_keep_large_identifiers_apart():
    big = 2**60
    factor = as_factor(read({"id": [big + 1, 7, big, 7]}, ["id"])["id"])
    assert factor.levels == ("7", str(big), str(big + 1))
    assert factor.codes.tolist() == [2, 0, 1, 0]
    assert as_factor(read({"v": [10.0, 2.0, 2.5]}, ["v"])["v"]).levels == ("2", "2.5", "10")


def test_arrays_are_read_only_and_the_users_data_stay_as_they_are():
    frame = pd.DataFrame({"y": [1.0, 2.0], "g": ["a", "b"]})
    before = frame.copy()
    table = read(frame, ["y", "g"])
    with pytest.raises(ValueError, match="read-only"):
        table["y"].values[0] = 9
    pd.testing.assert_frame_equal(frame, before)


# --- files --------------------------------------------------------------------------------------------


def test_text_files_take_quoted_numbers_as_labels(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text('"y","g","h"\n1.5,"308",1\nNA,"309",2\n2.5,"308",2\n')
    table = read(path, ["y", "g", "h"])
    assert isinstance(table["g"], Factor)
    assert table["g"].levels == ("308",)
    assert isinstance(table["h"], Numeric)
    assert table.rows.missing == (("y", 1),)


def test_a_file_that_quotes_everything_quotes_nothing(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text('"y","g"\n"1.5","u"\n"2","v"\n')
    table = read(path, ["y", "g"])
    assert table["y"].values.tolist() == [1.5, 2.0]
    assert table["g"].levels == ("u", "v")


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "arrow"])
def test_every_kind_of_file_gives_the_same_table(tmp_path, ending):
    frame = pl.DataFrame({"y": [1.0, 0.1 + 0.2, 3.0], "g": ["b", "a", "b"]})
    path = tmp_path / f"d.{ending}"
    write = {
        "csv": frame.write_csv, "tsv": lambda p: frame.write_csv(p, separator="\t"),
        "parquet": frame.write_parquet, "arrow": frame.write_ipc,
    }  # fmt: skip
    write[ending](path)
    table = read(path, ["y", "g"])
    assert table["y"].values.tolist() == [1.0, 0.1 + 0.2, 3.0]
    assert table["g"].levels == ("a", "b")


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "columns", "said"),
    [
        ({"Days": [1], "Subject": ["a"]}, ["Dais"], "has no column 'Dais'. Did you mean 'Days'?"),
        ({"y": []}, ["y"], "The table has no rows"),
        ({"y": [np.nan, np.nan], "g": ["a", "b"]}, ["y", "g"], "2 rows read, 2 dropped (missing: y 2), 0 kept"),
        ({"y": [1.0, np.inf, -np.inf]}, ["y"], "holds 2 infinite values, the first (inf) in data row 2"),
        ({"t": pd.to_datetime(["2020-01-01"])}, ["t"], "neither number nor label"),
        ({"m": ["a", 1.5, "b"]}, ["m"], "mixes float, str"),
        ([1, 2, 3], ["y"], "Data of type list is no table"),
        ("nothing/here.csv", ["y"], "There is no file nothing/here.csv"),
    ],
)  # fmt: skip
def test_refusals_name_the_value_and_the_way_out(data, columns, said):
    with pytest.raises(DataError) as caught:
        read(data, columns)
    assert said in str(caught.value)


def test_a_misspelt_file_is_told_its_neighbour(tmp_path):
    (tmp_path / "sleepstudy.csv").write_text("y\n1\n")
    with pytest.raises(DataError, match=r"Did you mean 'sleepstudy\.csv'"):
        read(tmp_path / "sleepstdy.csv", ["y"])
    (tmp_path / "d.docx").write_text("")
    with pytest.raises(DataError, match="which is not known"):
        read(tmp_path / "d.docx", ["y"])


def test_text_that_is_not_utf8_is_refused_not_mangled(tmp_path):
    (tmp_path / "latin.csv").write_bytes("y,g\n1,\u00e9\n2,\u00e8\n".encode("latin-1"))
    with pytest.raises(DataError, match="Save it as UTF-8"):
        read(tmp_path / "latin.csv", ["y", "g"])


def test_a_column_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "twice.csv").write_text("y,y,g\n1,2,a\n2,3,b\n")
    with pytest.raises(DataError, match="has 2 columns named 'y'"):
        read(tmp_path / "twice.csv", ["y", "g"])


def test_arrays_beside_the_table_must_have_its_length():
    with pytest.raises(DataError, match=r"weights has shape \(2,\), but the table has 3 rows"):
        read({"y": [1, 2, 3]}, ["y"], {"weights": np.ones(2)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y;x;g\n1;2;a\n", "separated by ';', not by ','"),
        ("y,x,g\n1,2,a\n2,3,b,c\n", "Data row 2 has 4 fields, the header 3"),
        ("", "t.csv is empty"),
    ],
)
def test_a_text_file_that_is_no_table_says_what_to_mend(tmp_path, text, message):
    file = tmp_path / "t.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read(file, ["y"])


def test_a_name_that_occurs_twice_matters_only_where_it_is_needed():
    frame = pd.DataFrame([[1.0, 2.0, 3.0], [2.0, 1.0, 4.0]], columns=["y", "x", "x"])
    assert read(frame, ["y"])["y"].values.tolist() == [1.0, 2.0]
    with pytest.raises(DataError, match="2 columns named 'x'"):
        read(frame, ["y", "x"])

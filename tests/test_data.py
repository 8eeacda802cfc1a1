"""Reading tables. Rungs: closed form (small tables by hand), invariance over dataframe libraries."""

from datetime import date, datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from workbench.data import Factor, Numeric, as_factor, read
from workbench.design import build_design
from workbench.errors import DataError
from workbench.labels import LazyLevels

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
        ({"t": pd.to_timedelta(["1 h"])}, ["t"], "neither number nor label"),
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


# --- labels made when asked for -----------------------------------------------------------------------


def paired(seed, kind=str):
    """A table whose pairs (a, b) occur in part, and the labels a:b in the order that Python finds them in."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 12, 40), rng.integers(0, 3, 40)
    first = a.tolist() if kind is int else [f"school {i:02}" for i in a]
    second = [("low", "middle", "high")[i] for i in b]
    table = {"y": rng.normal(size=40), "a": first, "b": second}
    return table, tuple(f"{one}:{two}" for one, two in sorted(set(zip(first, second, strict=True))))


@pytest.mark.parametrize("kind", [str, int])
@pytest.mark.parametrize("seed", range(3))
def test_the_labels_of_an_interaction_are_a_sequence_as_any_tuple(seed, kind):
    table, labels = paired(seed, kind)
    block = build_design("y ~ 1 + (1 | a:b)", table).blocks[0]
    levels = block.levels
    assert isinstance(levels, LazyLevels)
    assert len(levels) == len(labels)
    for i in range(-len(labels), len(labels)):
        assert levels[i] == labels[i]
    for part in (slice(None), slice(2, 5), slice(-3, None), slice(None, None, -2), slice(100, 200)):
        assert levels[part] == labels[part]
    assert tuple(levels) == labels
    assert tuple(reversed(levels)) == labels[::-1]
    assert labels[4] in levels
    assert "school 99:low" not in levels
    assert (levels.index(labels[4]), levels.count(labels[4])) == (4, 1)
    with pytest.raises(IndexError):
        levels[len(labels)]
    by_row = [f"{one}:{two}" for one, two in zip(table["a"], table["b"], strict=True)]
    assert [levels[code] for code in block.codes] == by_row
    np.testing.assert_array_equal(np.asarray(levels), np.array(labels))


def test_labels_made_later_equal_those_at_hand():
    table, labels = paired(0)
    one, other = (build_design("y ~ 1 + (1 | a:b)", table).blocks[0].levels for _ in range(2))
    assert one is not other
    assert one == other == labels
    assert labels == one
    assert hash(one) == hash(labels)
    assert one != labels[:-1]
    assert one != list(labels)  # as a tuple
    assert one != build_design("y ~ 1 + (1 | a)", table).blocks[0].levels


def test_labels_are_made_once_and_not_before_they_are_asked_for():
    made = []

    def make():
        made.append(1)
        return "a", "b", "c"

    levels = LazyLevels(3, make)
    assert (len(levels), made) == (3, [])
    assert (levels[1], levels[-1], list(levels), "b" in levels, made) == ("b", "c", ["a", "b", "c"], True, [1])


# --- dates and truth values ---------------------------------------------------------------------------

DAYS = [date(2024, 1, 5), date(2023, 12, 31), date(2024, 1, 5), None]
MOMENTS = [datetime(2024, 1, 5, 10, 30), datetime(2024, 1, 5), datetime(2024, 1, 5, 10, 30, 0, 250000), None]
MARKS = [True, False, True, None]
AS_LABELS = {
    "days": (DAYS, ["2023-12-31", "2024-01-05"], [1, 0, 1]),
    "moments": (MOMENTS, ["2024-01-05", "2024-01-05 10:30:00", "2024-01-05 10:30:00.250000"], [1, 0, 2]),
    "marks": (MARKS, ["FALSE", "TRUE"], [1, 0, 1]),
}
TABLES = {
    "pandas": lambda values: pd.DataFrame({"g": values}),
    "pandas, objects": lambda values: pd.DataFrame({"g": pd.Series(values, dtype=object)}),
    "pandas, categories": lambda values: pd.DataFrame({"g": pd.Categorical(values)}),
    "pandas, of Arrow": lambda values: pl.DataFrame({"g": values}).to_pandas(use_pyarrow_extension_array=True),
    "polars": lambda values: pl.DataFrame({"g": values}),
    "arrow": lambda values: pa.table({"g": values}),
    "a mapping": lambda values: {"g": values},
}


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize(("values", "levels", "codes"), AS_LABELS.values(), ids=AS_LABELS)
def test_dates_and_truth_values_are_the_same_labels_in_every_table(make, values, levels, codes):
    column = read(make(values), ["g"])["g"]
    assert isinstance(column, Factor)
    assert list(column.levels) == levels
    assert column.codes.tolist() == codes


@pytest.mark.parametrize(("values", "levels", "codes"), AS_LABELS.values(), ids=AS_LABELS)
@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow"])
def test_and_in_every_file(tmp_path, ending, values, levels, codes):
    path, frame = tmp_path / f"d.{ending}", pl.DataFrame({"g": values, "n": range(4)})
    match ending:
        case "csv":  # with the rows that have no time as R writes them
            text = ["" if v is None else str(v).removesuffix(" 00:00:00") for v in values]
            pl.DataFrame({"g": text, "n": range(4)}).write_csv(path)
        case "parquet":
            frame.write_parquet(path)
        case _:
            frame.write_ipc(path)
    column = read(path, ["g"])["g"]
    assert isinstance(column, Factor)
    assert list(column.levels) == levels
    assert column.codes.tolist() == codes


def test_moments_of_a_zone_keep_their_offset():
    moments = pd.to_datetime(["2024-10-27 00:30", "2024-10-27 01:30"], utc=True).tz_convert("Europe/Berlin")
    levels = read({"g": moments}, ["g"])["g"].levels
    assert list(levels) == ["2024-10-27 02:30:00+01:00", "2024-10-27 02:30:00+02:00"]


def test_a_date_is_a_group_and_a_new_row_finds_it():
    from workbench.api import fit

    days = pl.DataFrame({"y": [1.0, 2.0, 4.0, 3.0, 7.0, 6.0], "day": [date(2024, 1, k) for k in (1, 1, 2, 2, 3, 3)]})
    found = fit("y ~ 1 + (1 | day)", days)
    assert list(found.design.blocks[0].levels) == ["2024-01-01", "2024-01-02", "2024-01-03"]
    new = pd.DataFrame({"day": pd.to_datetime(["2024-01-02"])})
    assert found.predict(new)["estimate"].iloc[0] == pytest.approx(found.coefficients["estimate"].iloc[1])

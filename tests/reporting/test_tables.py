"""Plain text tables, character by character."""

import pytest

from segkit.reporting.tables import aligned, in_units


def test_columns_are_as_wide_as_their_widest_cell_and_numbers_stand_at_the_right():
    rows = [["road", 0.5, 1200], ["sidewalk", float("nan"), 7], ["sky", 1.0, None]]
    assert aligned(rows, ["class", "iou", "pixels"]).splitlines() == [
        "class        iou  pixels",
        "road      0.5000   1,200",
        "sidewalk     n/a       7",
        "sky       1.0000",
    ]


def test_rows_may_be_short_and_tables_empty():
    assert aligned([["a"], ["b", "c"]]).splitlines() == ["a", "b  c"]
    assert aligned([], ["name"]) == "name"
    assert aligned([]) == ""


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (950, "950"), (12345, "12.3 k"), (6953856, "6.95 M"), (14.8e9, "14.8 G")],
)
def test_large_numbers_are_said_with_their_unit(number, text):
    assert in_units(number) == text


def test_a_spreadsheet_takes_no_text_for_a_formula():
    from segkit.reporting.tables import as_csv_text

    rows = [["=cmd()|'-C calc'!A1", "@sum", -1.5, None, "cat"]]
    assert as_csv_text(rows) == "'=cmd()|'-C calc'!A1,'@sum,-1.5,,cat\n"

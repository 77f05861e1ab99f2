"""The grammar of components: what it reads, what it writes, and how it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit.errors import UsageError
from segkit.registry.expression import ComponentExpression, parse_component, parse_list, parse_sum


@pytest.mark.parametrize(
    ("text", "name", "options", "distribution"),
    [
        ("densenet121", "densenet121", {}, None),
        ("timm/convnext_tiny.in12k_ft_in1k", "timm/convnext_tiny.in12k_ft_in1k", {}, None),
        ("segkit-unet:unet", "unet", {}, "segkit-unet"),
        ("unet(padding=valid)", "unet", {"padding": "valid"}, None),
        ("focal(gamma=2)", "focal", {"gamma": 2}, None),
        ("focal( gamma = 2.5e-1 )", "focal", {"gamma": 0.25}, None),
        (
            "a(b=true, c=none, d=[1, -2.0, 'x y'])",
            "a",
            {"b": True, "c": None, "d": [1, -2.0, "x y"]},
            None,
        ),
        ("a(b=\"it's\", c='3')", "a", {"b": "it's", "c": "3"}, None),
    ],
)
def test_a_component_is_read(text, name, options, distribution):
    assert parse_component(text) == ComponentExpression(name, options, distribution)


def test_losses_add_up_with_weights():
    terms = parse_sum("0.5*dice + focal(gamma=2) + ce")
    assert [(t.weight, t.component.name) for t in terms] == [(0.5, "dice"), (1, "focal"), (1, "ce")]


@pytest.mark.parametrize("text", ["ce+0.5*dice", "ce + 0.5*dice", "ce +0.5 * dice", " ce+ .5*dice"])
def test_blanks_around_signs_do_not_matter(text):
    assert [str(term) for term in parse_sum(text)] == ["ce", "0.5*dice"]


def test_numbers_may_have_signs_within_options():
    assert parse_component("a(b=-1, c=+2.5, d=[-1e-3])").options == {
        "b": -1,
        "c": 2.5,
        "d": [-1e-3],
    }


def test_a_list_is_separated_by_commas_outside_brackets():
    assert [str(c) for c in parse_list("miou, boundary_iou(width=2, x=[1, 2]), dice")] == [
        "miou",
        "boundary_iou(width=2, x=[1, 2])",
        "dice",
    ]


literals = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii", exclude_characters="\"'")),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), literals, max_size=4))
def test_what_is_written_reads_back_the_same(options):
    component = ComponentExpression("name", options)
    assert parse_component(str(component)) == component


@pytest.mark.parametrize(
    ("text", "reason", "column"),
    [
        ("", "expected a component's name, found 'the end'", 0),
        ("dice +", "expected a component's name, found 'the end'", 6),
        ("dense net", "'net' cannot stand here", 6),
        ("a(b)", "expected '=', found ')'", 3),
        ("a(b=1", "expected ',' or ')', found 'the end'", 5),
        ("a(b=1, b=2)", "option 'b' is given twice", 7),
        ("a(b=__import__('os'))", "'_' cannot stand here", 4),
        ("2*3*dice", "expected a component's name, found '3'", 2),
        ("os.system(x;y)", "';' cannot stand here", 11),
    ],
)
def test_a_refusal_points_at_the_place(text, reason, column):
    with pytest.raises(UsageError) as caught:
        parse_sum(text)
    assert caught.value.code == "SK-C001"
    assert reason in caught.value.what
    assert caught.value.what.splitlines()[-1] == f"  {' ' * column}^"

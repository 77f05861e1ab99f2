"""A factory's keyword-only parameters are its options: read, checked and explained."""

from enum import Enum
from functools import partial
from typing import Literal

import pytest
from torch import nn

from segkit.errors import PluginError, UsageError
from segkit.registry.options import (
    can_be_written,
    check_options,
    described_parameters,
    documentation,
    options_of,
    type_name,
    written_value,
)


class Encoder:
    """An encoder.

    depth      levels, 1 to 5; the last one
               may be shallow
    variant    which of the two
    """

    def __init__(
        self,
        in_channels: int,
        weights: str,
        *,
        depth: int = 5,
        variant: Literal["a", "b"] = "a",
        rates: tuple[float, ...] = (1.0, 2.0),
        dropout: float | None = None,
        fast: bool = False,
    ) -> None: ...


OPTIONS = options_of(Encoder, "encoders")


def test_build_arguments_are_no_options():
    assert [o.name for o in OPTIONS] == ["depth", "variant", "rates", "dropout", "fast"]


def test_defaults_types_and_sentences_are_read():
    depth, variant, rates, dropout, _ = OPTIONS
    assert (depth.default, depth.type_name) == (5, "int")
    assert depth.description == "levels, 1 to 5; the last one may be shallow"
    assert variant.type_name == "'a' | 'b'"
    assert rates.type_name == "list of float"
    assert dropout.type_name == "float | none"


def test_values_take_their_annotated_type():
    values = check_options("e", OPTIONS, {"rates": [1, 2.5], "dropout": None, "depth": 3})
    assert values == {"rates": (1.0, 2.5), "dropout": None, "depth": 3}
    assert isinstance(values["rates"], tuple)


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(UsageError) as caught:
        check_options("densenet121", OPTIONS, {"dept": 4})
    assert str(caught.value) == (
        "SK-C005: densenet121 has no option 'dept'.\n"
        "         Did you mean 'depth'? Its options: depth, variant, rates, dropout, fast."
    )


@pytest.mark.parametrize(
    "given", [{"depth": "4"}, {"depth": 4.5}, {"depth": True}, {"fast": 1}, {"variant": "c"}]
)
def test_a_value_of_another_type_is_refused(given):
    with pytest.raises(UsageError, match="SK-C006") as caught:
        check_options("densenet121", OPTIONS, given)
    assert next(iter(given)) in caught.value.what
    assert "It takes" in caught.value.fix


def test_a_required_option_says_how_to_give_it():
    def factory(num_classes: int, ignore_index: int | None, *, widths: tuple[int, ...]) -> None: ...

    with pytest.raises(UsageError) as caught:
        check_options("mine", options_of(factory, "losses"), {})
    assert caught.value.code == "SK-C011"
    assert caught.value.fix == "Write mine(widths=...)."


def test_a_factory_that_would_swallow_typing_errors_is_refused():
    def swallows(in_channels: int, weights: str, **kwargs: int) -> None: ...

    def positional(in_channels: int, weights: str, depth: int = 3) -> None: ...

    def untyped(in_channels, weights, *, depth=3): ...

    for factory in (swallows, positional, untyped):
        with pytest.raises(PluginError, match="which is no option"):
            options_of(factory, "encoders")


def test_only_indented_lines_continue_a_description():
    text = "Summary.\n\nwidth   how wide\n        it is\nA sentence after it."
    assert described_parameters(text) == {"width": "how wide it is"}


def test_types_are_named_as_a_person_would():
    assert type_name(list[int]) == "list of int"
    assert type_name(tuple[int, int]) == "[int, int]"
    assert type_name(int | Literal["auto"]) == "int | 'auto'"


class Padding(Enum):
    SAME = "same"
    VALID = "valid"


def with_objects(
    num_classes: int,
    ignore_index: int | None,
    *,
    padding: Padding = Padding.SAME,
    norm: type[nn.Module] = nn.BatchNorm2d,
    activation: nn.Module | None = None,
) -> None: ...


def test_members_of_an_enum_are_written_by_their_values():
    padding = options_of(with_objects, "losses")[0]
    assert padding.type_name == "'same' | 'valid'"
    assert written_value(padding.default) == "same"
    checked = check_options("mine", (padding,), {"padding": "valid"})
    assert checked == {"padding": Padding.VALID}
    assert check_options("mine", (padding,), {"padding": Padding.VALID}) == checked
    with pytest.raises(UsageError, match=r"It takes 'same' \| 'valid'; the default is 'same'"):
        check_options("mine", (padding,), {"padding": "full"})


def test_a_module_as_an_option_has_a_name_and_no_written_form():
    norm = options_of(with_objects, "losses")[1]
    assert (written_value(norm.default), can_be_written(norm.default)) == ("BatchNorm2d", False)
    with pytest.raises(UsageError, match="option 'norm' cannot be 'LayerNorm'"):
        check_options("mine", (norm,), {"norm": "LayerNorm"})


def test_a_class_without_a_docstring_does_not_show_torchs():
    class Bare(nn.Module):
        pass

    class Base(nn.Module):
        """What all of them do."""

    class Derived(Base):
        pass

    assert documentation(Bare) == ""
    assert documentation(partial(Bare)) == ""
    assert documentation(Derived) == "What all of them do."
    assert "Base class for all neural network modules" in (nn.Module.__doc__ or "")


def test_a_factory_that_lacks_a_build_argument_is_refused_with_what_it_is_built_with():
    def narrow(in_channels: int, *, width: int = 3) -> None: ...

    with pytest.raises(PluginError) as caught:
        options_of(narrow, "encoders")
    assert caught.value.what.endswith("lacks the argument 'weights'.")
    assert "segkit builds encoders by keyword with in_channels, weights" in caught.value.fix

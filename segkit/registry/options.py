"""A component's options are its factory's keyword-only parameters: read, shown and checked here."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Literal, Union, get_args, get_origin

from segkit.errors import PluginError, UsageError, did_you_mean
from segkit.interfaces import BUILD_ARGUMENTS


@dataclass(frozen=True)
class Option:
    """One option: its type as annotated, its default (unless `required`), its sentence."""

    name: str
    annotation: Any
    default: Any
    required: bool
    description: str

    @property
    def type_name(self) -> str:
        return type_name(self.annotation)


def options_of(factory: Callable[..., Any], kind: str) -> tuple[Option, ...]:
    """The options of a factory; raises PluginError SK-P003 where its signature cannot be one."""
    if not callable(factory):
        raise PluginError(
            "SK-P003",
            f"the hook returns {factory!r}, which cannot be called.",
            "Return the class or the function that builds the component, not what it built.",
        )
    try:
        signature = inspect.signature(factory, eval_str=True)
    except (ValueError, TypeError, NameError) as error:
        raise PluginError(
            "SK-P003",
            f"the signature of {_name(factory)} cannot be read ({error}).",
            "Annotate every option with a type that can be imported at run time.",
        ) from error
    _refuse_missing_arguments(factory, kind, signature)
    descriptions = described_parameters(documentation(factory))
    options = []
    for parameter in signature.parameters.values():
        if parameter.name in BUILD_ARGUMENTS[kind]:
            continue
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.annotation is parameter.empty:
            raise PluginError(
                "SK-P003",
                f"{_name(factory)} takes '{parameter}', which is no option.",
                "Options are keyword-only parameters with an annotation; *args and **kwargs would "
                "swallow a user's typing errors.",
            )
        options.append(
            Option(
                name=parameter.name,
                annotation=parameter.annotation,
                default=None if parameter.default is parameter.empty else parameter.default,
                required=parameter.default is parameter.empty,
                description=descriptions.get(parameter.name, ""),
            )
        )
    return tuple(options)


def _refuse_missing_arguments(
    factory: Callable[..., Any], kind: str, signature: inspect.Signature
) -> None:
    """Every build argument is there and can be given by keyword; **kwargs is refused elsewhere."""
    taken = {
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    missing = [name for name in BUILD_ARGUMENTS[kind] if name not in taken]
    swallows = any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()
    )
    if missing and not swallows:
        shown = signature.replace(return_annotation=signature.empty)
        raise PluginError(
            "SK-P003",
            f"{_name(factory)}{shown} lacks the argument "
            f"{' and '.join(repr(name) for name in missing)}.",
            f"segkit builds {kind} by keyword with {', '.join(BUILD_ARGUMENTS[kind])}: take all "
            "of them, whether or not you need them.",
        )


def check_options(
    component: str, options: tuple[Option, ...], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The given options, converted to their annotated types.

    Raises UsageError: SK-C005 for an unknown name (with the nearest), SK-C006 for a wrong value,
    SK-C011 for a missing required option.
    """
    known = {option.name: option for option in options}
    checked = {}
    for name, value in given.items():
        if name not in known:
            listed = ", ".join(known) or "none"
            raise UsageError(
                "SK-C005",
                f"{component} has no option '{name}'.",
                f"{did_you_mean(name, known)}Its options: {listed}.",
            )
        checked[name] = _convert(component, known[name], value)
    missing = [option for option in options if option.required and option.name not in given]
    if missing:
        needed = ", ".join(f"{option.name} ({option.type_name})" for option in missing)
        example = ", ".join(f"{option.name}=..." for option in missing)
        raise UsageError(
            "SK-C011", f"{component} needs {needed}.", f"Write {component}({example})."
        )
    return checked


def _convert(component: str, option: Option, value: Any) -> Any:
    # pydantic takes 0.1 s to import, and most components are named without options.
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    # norm=none is read as None; where the annotation knows the word, the word is meant.
    if value is None and "none" in get_args(option.annotation):
        value = "none"
    try:
        # Strict JSON rules: 2 serves as a float and a list as a tuple, but "2" is no number.
        adapter = TypeAdapter(option.annotation, config=ConfigDict(arbitrary_types_allowed=True))
        return adapter.validate_json(json.dumps(written_value(value)), strict=True)
    except (ValidationError, ValueError, TypeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        default = written_value(option.default)
        raise UsageError(
            "SK-C006",
            f"{component}: option '{option.name}' cannot be {value!r} ({reason}).",
            f"It takes {option.type_name}; the default is {default!r}.",
        ) from error


def can_be_written(value: Any) -> bool:
    """Whether an expression can hold the value: a number, word, truth value, none, a list of them.

    Members of an enum are written by their values. A module or a class cannot be written, and no
    configuration or model folder records it: it is always the factory's default.
    """
    match value:
        case Enum():
            return can_be_written(value.value)
        case list() | tuple():
            return all(can_be_written(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str)


def written_value(value: Any) -> Any:
    """An option's value in plain types, as an expression, JSON or a person reads it."""
    match value:
        case Enum():
            return written_value(value.value)
        case list() | tuple():
            return [written_value(each) for each in value]
        case type() | types.FunctionType() | types.BuiltinFunctionType():
            return value.__qualname__
    return value if can_be_written(value) else str(value)


def documentation(factory: Callable[..., Any]) -> str:
    """The docstring of a factory: a function, a class, or a partial of either.

    A class without one has that of a base class of its own package, never that of torch's Module.
    """
    while isinstance(factory, partial):
        factory = factory.func
    if not isinstance(factory, type):
        return inspect.getdoc(factory) or ""
    package = factory.__module__.partition(".")[0]
    texts = (
        vars(each).get("__doc__")
        for each in factory.__mro__
        if each.__module__.partition(".")[0] == package
    )
    return inspect.cleandoc(next((text for text in texts if text), ""))


def type_name(annotation: Any) -> str:
    """An annotation as a person would say it: `int`, `'same' | 'valid'`, `tuple of float`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(repr(each) if isinstance(each, str) else str(each) for each in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(each) for each in arguments)
    if origin in (tuple, list):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return f"list of {type_name(arguments[0])}"
        if origin is list:
            return f"list of {type_name(arguments[0])}"
        return f"[{', '.join(type_name(each) for each in arguments)}]"
    if hasattr(annotation, "__metadata__"):
        return type_name(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " | ".join(repr(written_value(member)) for member in annotation)
    if annotation is type(None) or annotation is None:
        return "none"
    return getattr(annotation, "__name__", str(annotation))


def described_parameters(docstring: str) -> dict[str, str]:
    """Lines `name   what it is`, continued by deeper-indented ones, as name -> sentence."""
    found: dict[str, str] = {}
    current, indent = "", 0
    for line in docstring.splitlines():
        match = re.match(r"(\s*)([a-z_][a-z0-9_]*)(?:\s{2,}|:\s+)(\S.*)", line)
        if match:
            current, indent = match[2], len(match[1])
            found[current] = match[3].strip()
        elif current and line.strip() and len(line) - len(line.lstrip()) > indent:
            found[current] += " " + line.strip()
        else:
            current = ""
    return found


def _name(factory: Callable[..., Any]) -> str:
    return getattr(factory, "__qualname__", repr(factory))

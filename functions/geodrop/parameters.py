"""A request's parameters, read and checked by the OpenAPI document.

What the document says of a parameter (type, bounds, enum, pattern, default) is what is checked: there is no
second list. An unknown, repeated or malformed parameter is refused with its name, its value and what is
allowed. Source: OpenAPI 3.0.3, "Parameter Object"; style form without explode separates by commas.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from math import isfinite
from typing import Any
from urllib.parse import parse_qsl

from geodrop import package

_SHOWN = 100
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


class ParameterError(Exception):
    """A parameter is wrong. ``name`` is its name; the text says the value and what is allowed."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name


def wrong(name: str, value: object, allowed: str) -> ParameterError:
    """The error for one parameter's value."""
    shown = str(value)
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
    return ParameterError(name, f"{name}={shown}: expected {allowed}")


def _resolve(node: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    if not reference:
        return node
    found: Any = package.openapi()
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    resolved: dict[str, Any] = found
    return resolved


@cache
def declared(route: str) -> tuple[dict[str, Any], ...]:
    """The parameters of a route such as ``GET /datasets``, as the document declares them."""
    method, path = route.split(" ", 1)
    operation = package.openapi()["paths"][path][method.lower()]
    return tuple(_resolve(parameter) for parameter in operation.get("parameters", []))


def read(route: str, query: str, path: Mapping[str, str]) -> dict[str, Any]:
    """The checked values of a request, defaults included; a parameter not given and without default is absent.

    Parameters
    ----------
    route
        Such as ``GET /aggregated-data``.
    query
        The raw query string, still encoded.
    path
        Values of the path's parameters.

    Raises
    ------
    ParameterError
    """
    known = declared(route)
    given: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100)
    except (ValueError, UnicodeDecodeError):
        raise ParameterError("query", "the query string is not valid percent-encoded UTF-8") from None
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    names = [parameter["name"] for parameter in known if parameter["in"] == "query"]
    for name in given:
        if name not in names:
            allowed = f"this route takes {', '.join(names)}" if names else "this route takes no parameters"
            raise ParameterError(name[:_SHOWN], f"unknown parameter {name[:_SHOWN]!r}: {allowed}")
    values: dict[str, Any] = {}
    for parameter in known:
        name, schema = parameter["name"], parameter["schema"]
        texts = [path[name]] if parameter["in"] == "path" and name in path else given.get(name, [])
        if not texts:
            if parameter.get("required"):
                raise ParameterError(name, f"{name} is missing: {parameter['description']}")
            if "default" in schema:
                values[name] = schema["default"]
            continue
        if len(texts) > 1:
            raise ParameterError(name, f"{name} is given {len(texts)} times: expected once")
        values[name] = _value(name, texts[0], schema)
    return values


def _value(name: str, text: str, schema: Mapping[str, Any]) -> Any:
    kind = schema["type"]
    if kind == "array":
        return _array(name, text, schema)
    if kind == "boolean":
        if text not in ("true", "false"):
            raise wrong(name, text, "true or false")
        return text == "true"
    if kind in ("integer", "number"):
        return _number(name, text, schema)
    if "\0" in text or not schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", 10_000):
        raise wrong(name, text, f"{schema.get('minLength', 0)} to {schema.get('maxLength')} characters")
    if "enum" in schema and text not in schema["enum"]:
        raise wrong(name, text, f"one of {', '.join(schema['enum'])}")
    if "pattern" in schema and not re.fullmatch(schema["pattern"].removesuffix("$"), text):
        raise wrong(name, text, f"text that matches {schema['pattern']}")
    return text


def _array(name: str, text: str, schema: Mapping[str, Any]) -> list[Any]:
    items = text.split(",")
    least, most = schema.get("minItems", 0), schema.get("maxItems", 100)
    if not least <= len(items) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise wrong(name, text, f"{wanted} values separated by commas")
    return [_value(name, item, schema["items"]) for item in items]


def _number(name: str, text: str, schema: Mapping[str, Any]) -> float:
    integer = schema["type"] == "integer"
    low, high = schema.get("minimum"), schema.get("maximum")
    allowed = f"{'an integer' if integer else 'a number'} from {low} to {high}"
    if not (_INTEGER if integer else _NUMBER).fullmatch(text):
        raise wrong(name, text, allowed)
    number = int(text) if integer else float(text)
    if not isfinite(number) or (low is not None and number < low) or (high is not None and number > high):
        raise wrong(name, text, allowed)
    return number

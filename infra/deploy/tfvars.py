# SPDX-License-Identifier: Apache-2.0
"""What a tfvars file says, as Terraform takes it; and what is wrong with it, in words of whoever wrote it.

Which variables there are, of what kind, and which form they must have stands in infra/variables.tf alone.
"""

from __future__ import annotations

import difflib
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import hcl2

from dropfit.errors import SettingsError, legible

WORKED_OUT = re.compile(r"(?<!\$)\$\{")
FIELD = re.compile(r"(\w+) = optional\((\w+)")
FORM = re.compile(r'\$\{can\(regex\("(.*)", var\.\w+\)\)\}')
DECLARED = "infra/variables.tf"
# hcl2 keeps where it is in a default argument, which all threads share, and checks are made at the same time.
_READING = threading.Lock()
KINDS = {
    "string": 'a text in quotes, such as "..."',
    "number": "a number",
    "bool": "true or false",
    "set(string)": 'a list of texts, such as ["...", "..."]',
    "map(string)": 'names and values, such as { name = "value" }',
    "object": "names and values, such as { name = 1 }",
}


class Variable(NamedTuple):
    """A variable of variables.tf.

    Attributes:
        kind: a key of KINDS.
        about: its description.
        default: None when it has none, and when that is null.
        needed: whether a tfvars file has to set it.
        fields: of an object: name -> kind.
        rules: conditions of its validation, and what is said when one does not hold.
    """

    kind: str
    about: str
    default: Any
    needed: bool
    fields: Mapping[str, str]
    rules: tuple[tuple[str, str], ...]

    @property
    def forms(self) -> list[tuple[str, str]]:
        """Patterns that the whole value must match, and what is said when it does not."""
        matched = ((FORM.fullmatch(condition), message) for condition, message in self.rules)
        return [(form[1], message) for form, message in matched if form]


class Wrong(ValueError):
    """A value that is not of its variable's kind."""


def parsed(path: Path) -> dict[str, Any]:
    """A file of HCL as Python.

    Raises:
        SettingsError: when it is no HCL, naming the line.
    """
    name = f"infra/{path.name}"
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows' Notepad may put a mark at the beginning
    except (OSError, ValueError) as error:
        raise SettingsError(f"{name} cannot be read: save it as UTF-8 text ({legible(str(error))})") from error
    options = hcl2.SerializationOptions(strip_string_quotes=True, explicit_blocks=False, with_comments=False)
    try:
        with _READING:
            return dict(hcl2.loads(text.rstrip() + "\n", serialization_options=options))
    except Exception as error:  # lark's and hcl2's own
        lines = text.rstrip().splitlines() or [""]
        line = getattr(error, "line", -1)
        at = line if isinstance(line, int) and 0 < line <= len(lines) else len(lines)
        raise SettingsError(
            f"{name}, line {at} is not understood: {legible(lines[at - 1].strip(), 100)}\n"
            "Is a quote, a comma or a bracket missing or too many there, or in the line before?"
        ) from error


def declared(path: Path) -> dict[str, Variable]:
    """The variables of a variables.tf, by name."""
    found = {}
    for block in parsed(path)["variable"]:
        for name, body in block.items():
            kind = str(body["type"]).removeprefix("${").removesuffix("}")
            whole = "object" if kind.startswith("object") else kind
            rules = tuple((str(one["condition"]), str(one["error_message"])) for one in body.get("validation", ()))
            fields = dict(FIELD.findall(kind))
            about, default = str(body.get("description", "")), body.get("default")
            found[name.strip('"')] = Variable(whole, about, default, "default" not in body, fields, rules)
    return found


def said(path: Path, known: Mapping[str, Variable]) -> tuple[dict[str, Any], list[str]]:
    """What a tfvars file says, with Terraform's defaults for the rest; and what is wrong, a sentence each.

    Raises:
        SettingsError: when it is no HCL.
    """
    given = parsed(path)
    values, faults = {}, _unknown("", given, known)
    for name, variable in known.items():
        try:
            value = _of(variable, name, given.get(name))
        except Wrong as error:
            faults += [str(one) for one in error.args]
            continue
        if value is None and variable.needed:
            if name not in ("functions_zip", "image_tag"):  # code.auto.tfvars.json says these
                faults.append(f"`{name}` is missing. {variable.about}")
            continue
        value = values[name] = variable.default if value is None else value
        faults += [
            f"{name} = {_shown(value)} will not do: {message}"
            for form, message in variable.forms
            if not re.search(form, str(value))
        ]
    return values, faults


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, when there is something like it."""
    names = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), names, 1)
    return f"; did you mean `{names[close[0]]}`?" if close else ""


def _unknown(of: str, given: Iterable[str], known: Iterable[str]) -> list[str]:
    what = f"`{of}` has no `{{}}`" if of else "there is no variable `{}`"
    where = f"What there is stands in {DECLARED}"
    return [f"{what.format(name)}{nearest(name, known) or '.'} {where}." for name in given if name not in set(known)]


def _of(variable: Variable, name: str, value: Any) -> Any:
    """A value as Terraform converts it; None is the default.

    Raises:
        Wrong: with a sentence for each fault.
    """
    if value is None:
        return None
    _plain(name, variable.kind, value)
    if variable.kind in ONE:
        return ONE[variable.kind](name, value)
    if variable.kind == "set(string)":
        if not isinstance(value, list):
            raise Wrong(_not(name, variable.kind, value))
        return _each((f"{name}[{at}]", "string", one) for at, one in enumerate(value))
    if not isinstance(value, dict):
        raise Wrong(_not(name, variable.kind, value))
    if variable.kind == "map(string)":
        kept = _each((f"{name}.{key}", "scalar", one) for key, one in value.items())
        return dict(zip(value, kept, strict=True))
    faults = _unknown(name, value, variable.fields)
    there = {key: one for key, one in value.items() if key in variable.fields and one is not None}
    try:
        kept = _each((f"{name}.{key}", variable.fields[key], one) for key, one in there.items())
    except Wrong as error:
        faults += [str(one) for one in error.args]
    if faults:
        raise Wrong(*faults)
    return dict(zip(there, kept, strict=True))


def _plain(name: str, kind: str, value: Any) -> None:
    """Refuse what Terraform would have to work out: in a tfvars file it takes no functions and no variables."""
    if isinstance(value, str) and WORKED_OUT.search(value):
        thing = {"set(string)": "the list", "map(string)": "the map"}.get(kind, "the value")
        raise Wrong(f"{name} = {legible(value, 60)} has to be worked out: write {thing} out, here stand plain values")


def _each(parts: Iterable[tuple[str, str, Any]]) -> list[Any]:
    kept, faults = [], []
    for name, kind, value in parts:
        try:
            _plain(name, kind, value)
            kept.append(ONE[kind](name, value))
        except Wrong as error:
            faults.append(str(error))
    if faults:
        raise Wrong(*faults)
    return kept


def _scalar(name: str, value: Any) -> str | int | float:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return value
    raise Wrong(_not(name, "string", value) + (": leave the line out for the default" if value is None else ""))


def _string(name: str, value: Any) -> str:
    return str(_scalar(name, value))


def _number(name: str, value: Any) -> int | float:
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        return int(number) if number.is_integer() else number
    except (TypeError, ValueError, OverflowError):
        raise Wrong(_not(name, "number", value)) from None


def _bool(name: str, value: Any) -> bool:
    if value in (True, False) and isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise Wrong(_not(name, "bool", value))


ONE: dict[str, Callable[[str, Any], Any]] = {
    "string": _string,
    "scalar": _scalar,
    "number": _number,
    "bool": _bool,
}


def _not(name: str, kind: str, value: Any) -> str:
    return f"{name} must be {KINDS[kind]}, and is {_shown(value)}"


def _shown(value: Any) -> str:
    """A value about as the file has it."""
    if value is None:
        return "null"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a group { ... }"
    return f'"{legible(value, 60)}"' if isinstance(value, str) else str(value).lower()

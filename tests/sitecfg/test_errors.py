from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING

import pytest

from sitecfg import errors
from sitecfg.errors import GridError, from_json

if TYPE_CHECKING:
    from collections.abc import Iterator


def _tree(kind: type[GridError]) -> Iterator[type[GridError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)


KINDS = sorted(set(_tree(GridError)), key=lambda kind: kind.__name__)
FACTS = {"events": 3, "names": ["a", "b"], "deep": {"run": 1, "none": None}}


def _same(one: GridError, other: GridError) -> bool:
    return type(one) is type(other) and str(one) == str(other) and one.to_json() == other.to_json()


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_pickling(kind: type[GridError]) -> None:
    error = kind("it broke", where="x.root: Events", todo="mend it", **FACTS)
    assert _same(pickle.loads(pickle.dumps(error)), error)
    assert _same(copy.copy(error), error)
    assert str(error) == "x.root: Events: it broke — mend it"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_json(kind: type[GridError]) -> None:
    error = kind("it broke", where="x.root", todo="mend it", **FACTS)
    assert _same(from_json(json.loads(json.dumps(error.to_json()))), error)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_listed_and_explained(kind: type[GridError]) -> None:
    assert kind.__name__ in errors.__all__
    assert kind.__name__ in str(errors.__doc__)
    assert kind.__doc__
    assert 1 <= kind.exit_code <= 9


def test_an_answer_from_elsewhere_never_makes_another_class() -> None:
    for name in ("SystemExit", "Any", "from_json", "annotations", None, "NoSuchError"):
        assert type(from_json({"error": name, "what": "x"})) is GridError
    assert from_json({}).what
    assert from_json({"error": "NoSpace", "facts": "none"}).facts == {}

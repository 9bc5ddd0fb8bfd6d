"""A recipe is equal to another exactly when its hash is, and tells in words how it differs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grid.steps.recipe import Recipe, differences

TABLE = {"name": "PHYSICS", "tag": 6, "streams": {"A": ["HLT_Mu*"]}, "prescales": {}}
RECIPE = Recipe("cdf:raw.A", table=TABLE, merge=10**9, keep=("keep *",))


def test_a_recipe_survives_json() -> None:
    assert Recipe.from_json(RECIPE.to_json()) == RECIPE
    assert Recipe.from_json(RECIPE.to_json()).hash == RECIPE.hash


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(TypeError):
        Recipe.from_json({**RECIPE.to_json(), "surprise": 1})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"merge": 5}, "merge: 1000000000 → 5"),
        ({"table": {**TABLE, "tag": 7}}, "split: PHYSICS/6"),
        ({"table": None}, "none"),
        ({"script": "f" * 64}, "script: its content changed (none → ffffffffffff)"),
        ({"keep": ()}, "keep:"),
    ],
)
def test_every_difference_is_told(change: dict[str, object], says: str) -> None:
    other = replace(RECIPE, **change)  # type: ignore[arg-type]
    assert other.hash != RECIPE.hash
    assert says in "\n".join(differences(RECIPE, other))
    assert not differences(RECIPE, replace(RECIPE))

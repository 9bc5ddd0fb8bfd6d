from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from sitecfg import models
from sitecfg.load import load_site
from sitecfg.models import Place, Retry, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULTS = files("sitecfg").joinpath("defaults.toml").read_text("utf-8")
MODELS = [getattr(models, name) for name in models.__all__]
SITE = load_site(Path("/home/grid"), environ={}).site


def _sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give (section, key) of every field; what is in a dict of models has the section of the dict."""
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        below = [kind for kind in kinds if issubclass(kind, BaseModel)]
        if below:
            yield from _sections(below[0], f"{prefix}{name}.")
        else:
            yield prefix.rstrip("."), name


@pytest.mark.parametrize("model", MODELS)
def test_every_model_refuses_unknown_keys_and_changes(model: type[BaseModel]) -> None:
    assert model.model_config["extra"] == "forbid"
    assert model.model_config["frozen"] is True
    assert model.__doc__


@pytest.mark.parametrize("model", MODELS)
def test_every_field_is_described(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name}"
        assert field.description[0].isupper()
        assert not field.description.endswith(".")


def test_defaults_have_and_explain_every_key() -> None:
    uncommented = re.sub(r"(?m)^#\s*(?=\[|[a-z_]+ = )", "", DEFAULTS)
    for section, key in _sections(Site):
        assert re.search(rf"(?m)^\s*{key} = ", uncommented), f"{section}.{key}"
        if section:
            assert re.search(rf"(?m)^\[{re.escape(section.split('.')[0])}", DEFAULTS), section
    lines = DEFAULTS.splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[a-z_]+ = ", line):
            above = next(text for text in reversed(lines[:number]) if not re.match(r"[a-z_]+ = ", text))
            assert above.startswith(("#", "[")), line


def test_defaults_give_every_value_and_the_models_none() -> None:
    values: dict[str, Any] = tomllib.loads(DEFAULTS)
    Site.model_validate(values)
    for model in MODELS:
        if model is not Retry:
            assert all(field.is_required() for field in model.model_fields.values()), model


def test_a_site_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        SITE.workers.slots = 100
    for held in (SITE.storage.places, SITE.retry):
        with pytest.raises(TypeError):
            held["more"] = None  # type: ignore[index]


def test_paths_of_a_site_are_below_its_home() -> None:
    assert SITE.pool.path == Path("/home/grid/pool")
    assert SITE.scratch == Path("/home/grid/scratch")
    assert SITE.catalog.url == "sqlite:////home/grid/catalog.sqlite"


def test_slots_share_the_cores_among_the_workers() -> None:
    many = load_site(Path("/h"), environ={"MDCGRID_WORKERS__NUMBER": "10000"}).site
    assert many.workers.slots == 1
    assert SITE.workers.slots >= 1


def test_a_url_with_a_password_stays_out_of_repr() -> None:
    place = Place(url="s3://key:very-secret@store/bucket")
    assert "very-secret" not in repr(place)
    url = "postgresql+psycopg://me:very-secret@db/mdc"
    site = load_site(Path("/h"), environ={"MDCGRID_CATALOG__URL": url}).site
    assert site.catalog.url == url
    assert "very-secret" not in repr(site)


def test_a_site_gives_its_failure_rules() -> None:
    environ = {"MDCGRID_RETRY__SOURCE_BAD__RETRIES": "2", "MDCGRID_RETRY__PAYLOAD__RETRIES": "unlimited"}
    rules = load_site(Path("/h"), environ=environ).site.failure_rules()
    assert rules["source-bad"].retries == 2
    assert rules["payload"].retries is None
    assert SITE.failure_rules()["payload"].retries == 2

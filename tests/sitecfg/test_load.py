from __future__ import annotations

import re
from pathlib import Path

import pytest

from sitecfg import load
from sitecfg.errors import ConfigError
from sitecfg.load import load_site


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _problems(error: ConfigError) -> dict[tuple[str, str], str]:
    return {(found["source"], found["key"]): found["what"] for found in error.facts["problems"]}


def test_the_later_source_wins_and_each_value_knows_its_own(tmp_path: Path) -> None:
    home = _write(
        tmp_path / "grid.toml", 'name = "farm"\n[workers]\nslots = 2\nmemory = "3 GB"\nnumber = 5\n'
    )
    site = _write(tmp_path / "site.toml", '[workers]\nslots = 3\nmemory = "4 GB"\n[merge]\ntarget = "2 GB"\n')
    settings = load_site(tmp_path, site, {"MDCGRID_WORKERS__SLOTS": "4"})
    assert settings.site.name == "farm"
    assert settings.site.workers.number == 5
    assert settings.site.workers.memory == 4 * 10**9
    assert settings.site.workers.slots == 4
    assert settings.site.merge.target == 2 * 10**9
    assert settings.origins["name"] == str(home)
    assert settings.origins["workers.number"] == str(home)
    assert settings.origins["workers.memory"] == str(site)
    assert settings.origins["workers.slots"] == "$MDCGRID_WORKERS__SLOTS"
    assert settings.origins["merge.max_inputs"] == "defaults.toml"


def test_nothing_but_a_home_is_needed_and_nothing_is_made(tmp_path: Path) -> None:
    settings = load_site(tmp_path / "new", environ={})
    assert set(settings.origins.values()) == {"defaults.toml"}
    assert list(tmp_path.iterdir()) == []


def test_the_site_file_can_be_named_by_a_variable(tmp_path: Path) -> None:
    site = _write(tmp_path / "site.toml", 'name = "remote"')
    assert load_site(tmp_path, environ={"MDCGRID_SITE": str(site)}).site.name == "remote"


def test_sections_with_names_of_ones_own_are_merged(tmp_path: Path) -> None:
    _write(tmp_path / "grid.toml", '[storage.places.a]\nurl = "file:///a"\n[retry.payload]\nretries = 5\n')
    site = _write(
        tmp_path / "s.toml", '[storage.places.b]\nurl = "file:///b"\n[retry.payload]\nthen = "quarantine"\n'
    )
    settings = load_site(tmp_path, site, {"MDCGRID_STORAGE__PLACES__A__URL": "file:///other"})
    assert {name: place.url for name, place in settings.site.storage.places.items()} == {
        "a": "file:///other",
        "b": "file:///b",
    }
    rule = settings.site.retry["payload"]
    assert (rule.retries, rule.then, rule.first_delay) == (5, "quarantine", None)
    assert settings.origins["storage.places.b.url"] == str(site)
    assert settings.origins["retry.payload.retries"] == str(tmp_path / "grid.toml")


def test_all_problems_of_all_sources_come_in_one_error(tmp_path: Path) -> None:
    home = _write(
        tmp_path / "grid.toml",
        'memory = "3 GB"\n[workers]\nslot = 4\nmemory = "2 Gb"\nnumber = true\n[retry.paylod]\nretries = 3\n'
        '[retry.killed]\nretries = 3\n[storage.places.x]\n[storage.places.y]\nurl = "/no/scheme"\n',
    )
    site = _write(
        tmp_path / "s.toml",
        'lease = 3\n[workers]\nmemory = "4 GB"\n[merge]\ntarget = "-1 GB"\nmax_inputs = 0\n',
    )
    environ = {"MDCGRID_GATEWAY__PORT": "99999", "MDCGRID_WORKERS__SLOT": "1", "MDCGRID_HOME": "elsewhere"}
    with pytest.raises(ConfigError) as caught:
        load_site(tmp_path, site, environ)
    found = _problems(caught.value)
    assert set(found) == {
        (str(home), "memory"),
        (str(home), "workers.slot"),
        (str(home), "workers.memory"),
        (str(home), "workers.number"),
        (str(home), "retry.paylod"),
        (str(home), "retry.killed.retries"),
        (str(home), "storage.places.x.url"),
        (str(home), "storage.places.y.url"),
        (str(site), "lease"),
        (str(site), "merge.target"),
        (str(site), "merge.max_inputs"),
        ("$MDCGRID_GATEWAY__PORT", "gateway.port"),
        ("$MDCGRID_WORKERS__SLOT", "workers.slot"),
    }
    for (source, key), what in found.items():
        assert f"{source}: {key}: {what}" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        ("[workers]\nslot = 1", "workers.slot", "workers.slots"),
        ("[worker]\nslots = 1", "worker", "workers"),
        ("target = '1 GB'", "target", "merge.target"),
        ("[workers]\ntarget = '1 GB'", "workers.target", "merge.target"),
        ("[retry.oomm]\nretries = 1", "retry.oomm", "oom"),
        ("[storage.places.a]\nurl = 'file:///a'\nulr = 'x'", "storage.places.a.ulr", ""),
    ],
)
def test_an_unknown_key_is_refused_with_near_ones(tmp_path: Path, text: str, key: str, near: str) -> None:
    file = _write(tmp_path / "grid.toml", text)
    with pytest.raises(ConfigError) as caught:
        load_site(tmp_path, environ={})
    assert near in _problems(caught.value)[str(file), key]


@pytest.mark.parametrize(
    ("variable", "near"),
    [("MDCGRID_WORKERS__SLOT", "MDCGRID_WORKERS__SLOTS"), ("MDCGRID_FOO", ""), ("MDCGRID_", "")],
)
def test_an_unknown_variable_is_refused_with_near_ones(tmp_path: Path, variable: str, near: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_site(tmp_path, environ={variable: "1"})
    assert f"${variable}" in str(caught.value)
    assert near in str(caught.value)


def test_variables_that_are_no_settings_or_empty_are_left_alone(tmp_path: Path) -> None:
    environ = {"MDCGRID_HOME": "/x", "MDCGRID_REAL_DATA": "/y", "MDCGRID_WORKERS__SLOTS": "", "PATH": "/bin"}
    assert set(load_site(tmp_path, environ=environ).origins.values()) == {"defaults.toml"}


def test_the_variables_that_our_code_reads_are_the_known_ones() -> None:
    root = Path(load.__file__).parent.parent
    code = [
        path.read_text()
        for room in ("grid", "catalog", "kernels", "sitecfg", "tests", "benchmarks")
        for path in (root / room).rglob("*.py")
        if path not in (Path(load.__file__), Path(__file__))
    ]
    read = {name for text in code for name in re.findall(r"[\"'](MDCGRID_[A-Z]+(?:_[A-Z]+)*)[\"']", text)}
    assert read == set(load.OTHER_VARIABLES)


def test_a_section_given_as_a_value_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_site(tmp_path, environ={"MDCGRID_WORKERS": "4", "MDCGRID_WORKERS__SLOTS": "4"})
    assert _problems(caught.value) == {
        ("$MDCGRID_WORKERS", "workers"): "this is a section, written [workers]"
    }


def test_two_sources_that_are_right_alone_can_be_wrong_together(tmp_path: Path) -> None:
    home = _write(tmp_path / "grid.toml", "[lease]\nrenew_fraction = 0.5\n")
    with pytest.raises(ConfigError) as caught:
        load_site(tmp_path, environ={"MDCGRID_LEASE__FENCE_FRACTION": "0.4"})
    assert str(home) in str(caught.value)
    assert "$MDCGRID_LEASE__FENCE_FRACTION" in str(caught.value)
    _write(tmp_path / "grid.toml", "[lease]\nrenew_fraction = 0.85\n")
    assert (
        load_site(tmp_path, environ={"MDCGRID_LEASE__FENCE_FRACTION": "0.9"}).site.lease.renew_fraction
        == 0.85
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"name = ", "is no TOML"),
        (b'name = "\xff"', "is no UTF-8"),
        (b"a = 1\na = 2", "is no TOML"),
        (None, "can't be read"),
    ],
    ids=["half", "bytes", "twice", "folder"],
)
def test_a_file_that_cannot_be_read_is_a_problem_like_others(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    file = tmp_path / "grid.toml"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_site(tmp_path, tmp_path / "absent.toml", {})
    found = _problems(caught.value)
    assert why in found[str(file), ""]
    assert "doesn't exist" in found[str(tmp_path / "absent.toml"), ""]


@pytest.mark.parametrize(
    "text",
    ["workers = []", "[[workers]]", "name = 3", "[pool]\npath = ''", "[retry]\nkilled = 3",
     '"retry.killed.retries" = 3',
     "[retry.killed]\nretries = []", "[lease]\nseconds = nan", "[lease]\nrenew_fraction = inf", "[gateway]\nport = 1.5",
     "[catalog]\nurl = 'catalog.sqlite'", "storage.places = 3", "[storage.places]\na = 1", "name = 2026-01-01"],
)  # fmt: skip
def test_nonsense_is_a_config_error(tmp_path: Path, text: str) -> None:
    _write(tmp_path / "grid.toml", text)
    with pytest.raises(ConfigError, match=r"grid\.toml"):
        load_site(tmp_path, environ={})


def test_a_secret_is_not_in_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_site(tmp_path, environ={"MDCGRID_CATALOG__URL": "very-secret", "MDCGRID_WORKERS__SLOTS": "x"})
    assert "very-secret" not in str(caught.value)
    assert "catalog.url" in str(caught.value)

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from sitecfg.errors import BadUnit
from sitecfg.units import (
    Bytes,
    Rate,
    Seconds,
    format_bytes,
    format_seconds,
    parse_bytes,
    parse_rate,
    parse_seconds,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1 GB", 10**9),
        ("1GB", 10**9),
        ("1.5 kB", 1500),
        ("1 KB", 1000),
        (".5 MB", 500_000),
        ("1e3 MB", 10**9),
        ("2 GiB", 2 * 1024**3),
        ("1 KiB", 1024),
        ("17", 17),
        ("17 B", 17),
        (18, 18),
        ("0.1 GB", 10**8),
        (" 3 TB ", 3 * 10**12),
    ],
)
def test_sizes_are_whole_bytes(text: str | int, size: int) -> None:
    assert parse_bytes(text) == size


def test_a_broken_byte_is_rounded_up() -> None:
    assert parse_bytes("1.2 B") == 2
    assert parse_bytes(1.2) == 2


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1 Gb", "'GB'"),
        ("1 gb", "'GB'"),
        ("1 G", "'GB'"),
        ("1 gib", "'GiB'"),
        ("3 bytes", "'B'"),
        ("", "write"),
        ("GB", "write"),
        ("-1 GB", "write"),
        ("1,5 GB", "write"),
        ("1 GB 2", "write"),
        ("1e999999999 B", "write"),
        ("1e99 B", "check the unit"),
        ("nan", "write"),
        ("\N{ARABIC-INDIC DIGIT ONE} GB", "write"),
    ],
)
def test_a_size_that_cannot_be_read_is_refused_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(BadUnit) as caught:
        parse_bytes(text)
    assert hint in caught.value.todo


@pytest.mark.parametrize(
    "value", [True, None, float("nan"), float("inf"), -1, 10**400, 1e30, "9" * 5000, [1], b"1 GB"]
)
def test_what_is_no_text_or_number_is_refused(value: object) -> None:
    for parse in (parse_bytes, parse_seconds, parse_rate):
        with pytest.raises(BadUnit):
            parse(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30 s", 30),
        ("1 h 30 min", 5400),
        ("1h30min", 5400),
        ("2 d", 172800),
        ("5 ms", 0.005),
        ("30 us", 3e-5),
        ("10", 10),
        (0.25, 0.25),
        ("2.5e3 s", 2500),
    ],
)
def test_times_are_seconds(text: str | float, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("5 m", "'min'"),
        ("10 minutes", "'min'"),
        ("3 hours", "'h'"),
        ("1 sec", "'s'"),
        ("1 2 s", "write"),
        ("s", "write"),
    ],
)
def test_a_time_that_cannot_be_read_is_refused_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(BadUnit) as caught:
        parse_seconds(text)
    assert hint in caught.value.todo


def test_rates_are_bytes_per_second() -> None:
    assert parse_rate("20 MB/s") == 20e6
    assert parse_rate("86.4 GB/d") == pytest.approx(1e6)
    assert parse_rate(5) == 5
    with pytest.raises(BadUnit, match="did you mean '20 MB/s'"):
        parse_rate("20 MB")
    with pytest.raises(BadUnit, match="'s'"):
        parse_rate("20 MB/sec")


@given(st.integers(0, 2**63 - 1))
def test_a_formatted_size_is_read_back_to_four_figures(size: int) -> None:
    assert parse_bytes(format_bytes(size)) == pytest.approx(size, rel=5e-4)


@given(st.integers(0, 9999), st.sampled_from(["B", "kB", "MB", "GB", "TB"]))
def test_a_size_of_four_figures_survives_being_formatted(number: int, unit: str) -> None:
    size = parse_bytes(f"{number} {unit}")
    assert parse_bytes(format_bytes(size)) == size


@given(st.floats(1e-6, 1e9))
def test_a_formatted_time_is_read_back_to_two_units(seconds: float) -> None:
    assert parse_seconds(format_seconds(seconds)) == pytest.approx(seconds, rel=0.05)


@given(st.integers(0, 365 * 24 * 60))
def test_whole_minutes_below_a_day_survive_being_formatted(minutes: int) -> None:
    seconds = 60.0 * (minutes % (24 * 60))
    assert parse_seconds(format_seconds(seconds)) == seconds


@given(st.text())
def test_any_text_gives_a_quantity_or_a_named_refusal(text: str) -> None:
    for parse in (parse_bytes, parse_seconds, parse_rate):
        with contextlib.suppress(BadUnit):
            assert parse(text) >= 0


def test_people_read_round_numbers() -> None:
    assert format_bytes(1_500_000) == "1.5 MB"
    assert format_bytes(999_999_999) == "1 GB"
    assert format_bytes(0) == "0 B"
    assert format_seconds(59.999) == "1 min"
    assert format_seconds(5400) == "1 h 30 min"
    assert format_seconds(0) == "0 s"
    assert format_seconds(0.012) == "12 ms"


def test_settings_take_quantities_as_written() -> None:
    class Limits(BaseModel):
        memory: Bytes
        time: Seconds
        rate: Rate

    limits = Limits.model_validate({"memory": "2 GB", "time": "12 h", "rate": "20 MB/s"})
    assert (limits.memory, limits.time, limits.rate) == (2 * 10**9, 43200.0, 20e6)
    with pytest.raises(ValidationError, match="did you mean 'GB'"):
        Limits.model_validate({"memory": "2 G", "time": "12 h", "rate": "20 MB/s"})

"""A kernel comes with a benchmark against numpy."""

from __future__ import annotations

import inspect

import pytest

from benchmarks import bench_kernels
from kernels import reference


@pytest.mark.parametrize("name", reference.__all__)
def test_every_kernel_with_a_reference_is_timed_against_it(name: str) -> None:
    assert f"reference.{name}(" in inspect.getsource(bench_kernels)

"""Whatever form an array comes in, the answer is the same, nothing is compiled anew, and the array is not changed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import kernels
from kernels import bits, content, fingerprint, jagged, prescale, reference, unique
from kernels._jit import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

N = 20
RNG = np.random.default_rng(1)
WORDS = RNG.integers(0, 2**64, (N, 2), dtype=np.uint64)
MASKS = RNG.integers(0, 8, N, dtype=np.uint64)
INDEX = RNG.integers(0, N, 15)
OFFSETS = np.arange(N + 1) * 3
GROUP = RNG.integers(0, 4, N)
DATA = RNG.integers(0, 256, 3 * N, dtype=np.uint8)
FACTORS = RNG.integers(0, 5, 100, dtype=np.uint64)

CALLS: dict[str, tuple[Callable[..., Any], list[NDArray[Any]], tuple[Any, ...]]] = {
    "pack_bits": (bits.pack_bits, [WORDS[:, :1] % 2 == 0], ()),
    "pack_columns": (lambda *columns: bits.pack_columns(columns), [MASKS % 2 == 0, MASKS % 3 == 0], ()),
    "any_of": (bits.any_of, [WORDS, WORDS[0]], ()),
    "all_of": (bits.all_of, [WORDS, WORDS[0]], ()),
    "none_of": (bits.none_of, [WORDS, WORDS[0]], ()),
    "stream_masks": (bits.stream_masks, [WORDS, WORDS[:5]], ()),
    "overlap": (bits.overlap, [MASKS], (3,)),
    "census": (bits.census, [MASKS], ()),
    "keep": (prescale.keep, [WORDS], (3, 2**64 - 1)),
    "apply_prescales": (prescale.apply_prescales, [WORDS, WORDS, FACTORS, FACTORS], ()),
    "gather": (jagged.gather, [OFFSETS, INDEX], ()),
    "gather_bytes": (jagged.gather_bytes, [DATA, OFFSETS, INDEX], ()),
    "take_fixed": (jagged.take_fixed, [DATA.reshape(N, 3), INDEX], ()),
    "partition": (jagged.partition, [MASKS], (3,)),
    "event_keys": (lambda *columns: fingerprint.event_keys(columns), [GROUP, MASKS], ()),
    "fingerprint": (fingerprint.fingerprint, [WORDS], ()),
    "group_fingerprints": (fingerprint.group_fingerprints, [WORDS, GROUP], (4,)),
    "duplicates": (lambda *columns: unique.duplicates(columns), [GROUP, MASKS], ()),
    "sections": (unique.sections, [GROUP, INDEX[GROUP]], ()),
    "fixed": (content.fixed, [DATA.reshape(N, 3)], (5,)),
    "jagged": (content.jagged, [OFFSETS[:-1], OFFSETS[1:], DATA], (5,)),
    "seal": (content.seal, [MASKS], ()),
    "group_sums": (content.group_sums, [MASKS, GROUP], (4,)),
}


def strided(array: NDArray[Any]) -> NDArray[Any]:
    """Every second element of a larger array, in Fortran order."""
    wide = np.zeros(tuple(2 * size for size in array.shape), dtype=array.dtype, order="F")
    view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def big_endian(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder(">"))


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def unaligned(array: NDArray[Any]) -> NDArray[Any]:
    raw = np.frombuffer(b"x" + array.tobytes(), dtype=np.uint8)[1:]
    return raw.view(array.dtype).reshape(array.shape)


@pytest.mark.parametrize("form", [strided, big_endian, read_only, unaligned])
@pytest.mark.parametrize("name", CALLS)
def test_every_form_of_an_array_gives_the_same(
    name: str, form: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    call, arrays, rest = CALLS[name]
    given = [form(array) for array in arrays]
    before = [array.copy() for array in given]
    got, wanted = call(*given, *rest), call(*arrays, *rest)
    for mine, other in zip(*map(flat, (got, wanted)), strict=True):
        np.testing.assert_array_equal(mine, other)
    for array, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", CALLS)
def test_arguments_stay_writable_for_their_owner(name: str) -> None:
    call, arrays, rest = CALLS[name]
    call(*arrays, *rest)
    assert all(array.flags.writeable for array in arrays)


def test_every_kernel_is_compiled_once() -> None:
    """One signature each: short start-up, and processes that share a cache write the same into it."""
    for call, arrays, rest in CALLS.values():
        call(*(strided(big_endian(array)) for array in arrays), *rest)
    counts = {name: len(found.dispatcher.signatures) for name, found in all_kernels().items()}
    assert {name: count for name, count in counts.items() if count > 1} == {}
    assert len(counts) > 20


def test_every_kernel_has_a_reference_with_the_same_arguments() -> None:
    pure = {"salt_of", "hex8", "to_hex", "from_hex", "add", "word_count", "mix64_word", "expect", "light"}
    pure |= {"byte_table", "hash_bytes"}
    for name in ("bits", "prescale", "jagged", "fingerprint", "unique", "content", "adler", "rows"):
        module = importlib.import_module(f"kernels.{name}")
        for public in set(module.__all__) - pure:
            mine, other = getattr(module, public), getattr(reference, public)
            assert list(inspect.signature(mine).parameters) == list(inspect.signature(other).parameters), (
                public
            )


def all_kernels() -> dict[str, Kernel[..., Any]]:
    modules = [
        importlib.import_module(f"kernels.{info.name}") for info in pkgutil.iter_modules(kernels.__path__)
    ]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Kernel)]
    return {f"{one.function.__module__}.{one.function.__qualname__}": one for one in found}


def flat(answer: Any) -> list[NDArray[Any]]:
    return list(answer) if isinstance(answer, (tuple, list)) else [answer]

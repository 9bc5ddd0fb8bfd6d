"""One intrinsic that numba lacks: memcpy between byte arrays."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from numba import types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["copy_bytes"]

cgutils: Any = import_module("numba.core.cgutils")  # as Any: what numba types of it changes by version


def _copy_bytes(_context: Any, target: Any, at: Any, source: Any, start: Any, length: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target_type, _, source_type, _, _ = signature.args
        into = context.make_array(target_type)(context, builder, args[0])
        out_of = context.make_array(source_type)(context, builder, args[2])
        cgutils.raw_memcpy(
            builder, builder.gep(into.data, [args[1]]), builder.gep(out_of.data, [args[3]]), args[4], 1
        )
        return context.get_dummy_value()

    del at, start, length
    return types.void(target, types.intp, source, types.intp, types.intp), codegen


#: ``copy_bytes(target, at, source, start, length)``, for kernels only, on contiguous uint8 arrays. It checks nothing:
#: the kernel has proven before its loop that both ranges lie inside.
copy_bytes = cast(
    "Callable[[NDArray[np.uint8], int, NDArray[np.uint8], int, int], None]", intrinsic(_copy_bytes)
)

"""Where an output may lie: in its dataset's folder in the pool, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sitecfg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["check_places"]


def check_places(result: Mapping[str, Any], pool: Path) -> None:
    """Refuse a result that claims an output elsewhere: the catalog would send readers, and the sweeper, there.

    Which datasets and file names a run may write, and the shape of a result, are the catalog's to check.

    Raises
    ------
    UsageError
        An output lies outside its dataset's folder.
    """
    outputs = result.get("outputs")
    for one in outputs if isinstance(outputs, list) else ():
        if not isinstance(one, dict) or not isinstance(one.get("url"), str):
            continue
        folder = f"{pool.as_uri()}/{str(one.get('dataset')).replace(':', '/', 1)}"
        if one["url"].rpartition("/")[0] != folder:
            raise UsageError("an output of this dataset would not lie there", where=one["url"])

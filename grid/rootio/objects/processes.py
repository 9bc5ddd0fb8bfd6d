"""The processes that made references: ``ProcessID0`` and so on, which references name by their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sitecfg.errors import UnsupportedContent

if TYPE_CHECKING:
    from grid.rootio.format.nodes import Node
    from grid.rootio.objects.anatomy import Anatomy
    from grid.rootio.objects.stored import Stored

__all__ = ["is_process", "process"]


def is_process(class_name: str) -> bool:
    """Return whether objects of a class name processes."""
    return class_name == "TProcessID"


def process(stored: Stored, node: Node, path: str, anatomy: Anatomy) -> None:
    """Add which process it is to an anatomy: its GUID; what it was called in memory is of no account.

    A number in a basket can't be changed, and ROOT reads no offset from a basket's key. So it must mean the same
    process in all inputs.

    Raises
    ------
    UnsupportedContent
        If it is not described as processes are.
    """
    if "fTitle" not in node.texts:
        raise UnsupportedContent(
            f"its {node.class_name} is described in a way that is not known here", where=stored.where
        )
    anatomy.same[path + "the process that made its references"] = node.texts["fTitle"].decode(
        "utf-8", "backslashreplace"
    )
    anatomy.todo = (
        "merge only files whose references were made by the same processes, "
        "or let references lead nowhere (--drop-refused)"
    )

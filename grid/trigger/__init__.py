"""Trigger tables: which paths make which stream, by name. Pure; never by position.

A table has a name and a tag, written ``PHYSICS_1_01/6``. It lists streams, each as globs over path names, and
prescales. It never changes: another content is another tag, and the hash tells them apart. What it means for
a file is found by :meth:`TriggerTable.resolve` from the names in the file's own menu, so two files whose
branches stand in another order are split alike.

A glob knows ``*``, ``?`` and ``[abc]``. One that ends in ``_v*`` means any version of a path: it takes
``HLT_IsoMu24_v15`` and also ``HLT_IsoMu24``, as files that drop the version write it.

::

    name = "PHYSICS_1_01"
    tag = 6
    description = "High-pT muons and electrons"

    [streams]                                   # the order here is the order of the stream bits
    MUON = ["HLT_IsoMu*", "HLT_Mu50_v*"]
    ELECTRON = ["HLT_Ele*_WPTight_*"]

    [prescales]                                 # keep one event in so many
    "HLT_IsoMu20_v*" = 10
"""

from __future__ import annotations

from grid.trigger.menu import MENU_PREFIX, families, menu_hash
from grid.trigger.rules import MAX_STREAMS
from grid.trigger.table import Resolved, TriggerTable, diff

__all__ = ["MAX_STREAMS", "MENU_PREFIX", "Resolved", "TriggerTable", "diff", "families", "menu_hash"]

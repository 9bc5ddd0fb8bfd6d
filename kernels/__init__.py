"""Arrays in, arrays out: numba kernels over numpy. Knows no other room, never logs, never reads settings.

One module per idea, each with thin wrappers that check shapes and dtypes (``ValueError`` in one sentence) around
compiled loops that trust nothing they index with:

========================= ====================================================================================
``kernels.bits``          trigger bits: packing, path masks, stream masks, overlap, census of the masks
``kernels.prescale``      deterministic prescales by the event's key
``kernels.jagged``        gathering and partitioning events of any nesting
``kernels.fingerprint``   event keys and the additive fingerprint of a set of events
``kernels.unique``        events that occur twice, and the run sections of a file
``kernels.content``       the additive hash of what events contain
``kernels.adler``         adler32, combined without reading again
``kernels.warm``          compiles everything ahead of time
``kernels.reference``     the obvious numpy version of each, which the tests hold the others to
========================= ====================================================================================

Nothing is imported or compiled before a kernel runs: ``import kernels.fingerprint`` costs numpy, not numba.
"""

from __future__ import annotations

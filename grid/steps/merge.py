"""Merge one group of a stream's outputs into one file, and prove that it holds what they hold."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grid.steps.outputs import Targets
from grid.steps.process import provenance
from grid.steps.recipe import Recipe
from grid.steps.reread import check_bytes
from sitecfg.errors import InputError
from sitecfg.names import Name, merged_file, output_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from grid.rootio.merging import MergeOptions, MergeReport

__all__ = ["run"]


def run(spec: dict[str, Any], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Write one file that holds the events of all inputs, in their order.

    Parameters
    ----------
    spec
        ``production``, ``scope``, ``streams``, ``recipe``, ``stream``, ``number``, ``inputs`` (in order) and
        ``attempt``.
    progress
        Called with ``(done, total)``.

    Raises
    ------
    GridError
        Of the kind that fits; then no output is left.
    """
    from grid.rootio.merging import MergeOptions
    from grid.storage.fetch import local_copy
    from grid.storage.steady import untouched

    recipe = Recipe.from_json(spec["recipe"])
    here = spec["attempt"]
    stream = spec["stream"]
    names = [one["name"] for one in spec["inputs"]]
    targets = Targets(here)
    place = targets.target(
        output_dataset(spec["scope"], spec["production"], stream),
        merged_file(spec["production"], stream, [Name.parse(name).name for name in names], spec["number"]),
    )
    with ExitStack() as stack:
        stack.enter_context(targets.undone_on_error())
        paths = []
        for one in spec["inputs"]:
            path = stack.enter_context(local_copy(one["urls"][0], Path(here["scratch"]), progress))
            stack.enter_context(untouched(path, where=one["urls"][0]))
            paths.append(path)
        report = _merge(
            spec["inputs"],
            paths,
            place.temp,
            MergeOptions(
                identity=recipe.identity,
                event_trees=recipe.tree,
                memory_bytes=here["memory"],
                duplicates="refuse",
                on_refused=recipe.on_refused,
                compression=recipe.compression or None,
                # whoever made the inputs has read them back; whole-file checksums say that nothing has changed
                verify="sealed" if all(one["fingerprint"] for one in spec["inputs"]) else "proven",
            ),
            provenance(spec),
            progress,
        )
        told = {**report.output.to_json(), "stream": stream, "stream_bit": spec["streams"].index(stream)}
        if report.output.content is None:
            told["content"] = _added(spec["inputs"])  # baskets were copied as they are
        output = targets.publish(place, told, parents=names)
    return {"outputs": [output], "inputs": names, "notes": [*report.notes]}


def _merge(
    inputs: Sequence[Mapping[str, Any]],
    paths: Sequence[Path],
    out: Path,
    options: MergeOptions,
    record: Mapping[str, Any],
    progress: Callable[[int, int], None],
) -> MergeReport:
    """Merge; if that fails because of an input that is not what the catalog knows, say so, and which copy it is."""
    from grid.rootio.merge import merge

    try:
        return merge(paths, out, options, known=inputs, record=record, progress=progress)
    except InputError:
        for path, one in zip(paths, inputs, strict=True):
            check_bytes(path, one, where=one["urls"][0])
        raise


def _added(inputs: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the content of all inputs together, if that of each is known."""
    from grid.rootio.tally import sum_hex

    known = [one["content"] for one in inputs]
    return None if None in known else sum_hex(known)

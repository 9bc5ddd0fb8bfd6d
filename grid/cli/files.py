"""``grid verify, split, merge``: files by themselves, without a home or a catalog."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.exceptions import Exit

from grid.cli import show
from grid.cli.exit_codes import DUPLICATES
from grid.cli.options import ADDRESS, DRY_RUN, JSON, PATH, QUIET, TREE
from sitecfg.errors import GridError, OutputError, OutputExists, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from grid.cli.place import Place

__all__ = ["merge", "split", "verify"]

#: So many branches that can't be carried are shown; --json has them all.
REFUSED_SHOWN = 5

IDENTITY: Final = click.option(
    "--identity",
    multiple=True,
    help="A branch that identifies an event (repeat). [default: run luminosityBlock event]",
)
COMPRESSION: Final = click.option(
    "--compression", help="Like zstd:5, lz4:4, zlib:1 or none; the input's if not given."
)
FORMAT: Final = click.option(
    "--format", help="'ttree' writes TTrees for RNTuple inputs, which otherwise stay what they are."
)
DROP_REFUSED: Final = click.option(
    "--drop-refused", is_flag=True, help="Leave out (and record) branches that can't be carried."
)


@click.command()
@click.argument("files", nargs=-1, required=True, type=PATH, help="ROOT files.")
@click.option(
    "--depth",
    default="proven",
    help="'copied' tests where every record lies, 'sealed' also each checksum that needs no unpacking, "
    "'proven' unpacks everything and looks at the events.",
)
@IDENTITY
@TREE
@JSON
@QUIET
def verify(
    files: tuple[Path, ...],
    depth: str,
    identity: tuple[str, ...],
    tree: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Prove that files are whole: structure, every basket, entry counts, checksums, fingerprint, no event twice.

    Goes on after a bad file; the exit code is that of the first one.
    """
    if depth not in ("copied", "sealed", "proven"):
        raise UsageError(
            f"{depth!r} is no depth", where="--depth", todo="choose 'copied', 'sealed' or 'proven'"
        )
    answers: list[dict[str, Any]] = []
    first: GridError | None = None
    with show.bytes_bar(quiet=quiet or as_json) as bar:
        for file in files:
            task = bar.add_task(file.name, total=None)
            try:
                answer = _verified(
                    file, depth, identity, tree, lambda d, t, k=task: bar.update(k, completed=d, total=t)
                )
            except GridError as error:
                first = first or error
                answer = {"path": str(file), **error.to_json()}
            answers.append(answer)
            bar.remove_task(task)
            if not as_json:
                _show_verified(answer)
    if as_json:
        show.as_json(answers)
    if first is not None:
        raise Exit(first.exit_code)


def _verified(
    file: Path, depth: str, identity: Sequence[str], tree: Sequence[str], progress: Any
) -> dict[str, Any]:
    from grid.rootio.verify import verify as prove
    from sitecfg.errors import DuplicateEvents, UnsupportedContent

    answer = prove(file, depth, progress=progress).to_json()  # type: ignore[arg-type]
    if depth != "proven" or not answer["trees"]:
        return answer
    from grid.rootio.facts import file_facts

    try:
        facts = file_facts(file, identity=identity or None, event_trees=tree)
    except UnsupportedContent as error:
        if identity or tree:
            raise
        answer["notes"].append(f"events were not looked at: {error.what}")
        return answer
    answer |= {key: value for key, value in facts.to_json().items() if key not in ("trees", "notes", "bytes")}
    answer["notes"] += [*facts.notes]
    if facts.duplicates:
        raise DuplicateEvents(
            f"events are in the file more than once: {'; '.join(facts.duplicates[:3])}",
            where=str(file),
            duplicates=list(facts.duplicates),
        )
    return answer


def _show_verified(answer: dict[str, Any]) -> None:
    if "error" in answer:
        show.line(f"BAD {answer['path']}: {answer['error']}: {answer['what']}")
        if answer["todo"]:
            show.line(f"    {answer['todo']}")
        return
    show.line(
        f"ok  {answer['path']}: {answer['bytes']:,} bytes, {answer['bytes_covered']:,} under checksums of the format"
    )
    for path, one in answer["trees"].items():
        show.line(f"    {path}: {one['kind']}, {one['entries']:,} entries, {one['branches']} branches")
    if "adler32" in answer:
        show.line(
            f"    adler32 {answer['adler32']}  xxh3 {answer['xxh3']}  fingerprint {answer['fingerprint'] or '-'}"
        )
        for tree, branch, why in answer["refused"][:REFUSED_SHOWN]:
            show.line(f"    can't be carried: {tree}: {branch}: {why}")
        if len(answer["refused"]) > REFUSED_SHOWN:
            show.line(
                f"    … and {len(answer['refused']) - REFUSED_SHOWN} more that can't be carried: see --json"
            )
    for note in answer["notes"]:
        show.line(f"    {note}")


@click.command()
@click.argument("files", nargs=-1, required=True, type=ADDRESS, help="ROOT files: paths, globs or URLs.")
@click.option(
    "--out", "-o", required=True, type=PATH, help="Folder for IN.STREAM.root; made if it isn't there."
)
@click.option(
    "--table",
    "-t",
    type=ADDRESS,
    metavar="TABLE",
    help="Trigger table: a .toml file, or NAME/TAG; without: one stream, all.",
)
@IDENTITY
@TREE
@click.option(
    "--keep", multiple=True, help="A rule like 'drop Photon_*' (repeat); the last that matches wins."
)
@DROP_REFUSED
@COMPRESSION
@FORMAT
@DRY_RUN
@JSON
@QUIET
@click.pass_obj
def split(
    place: Place,
    files: tuple[str, ...],
    out: Path,
    table: str | None,
    identity: tuple[str, ...],
    tree: tuple[str, ...],
    keep: tuple[str, ...],
    drop_refused: bool,
    compression: str | None,
    format: str | None,  # noqa: A002 -- the option's name
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Split files by trigger bit: one output per stream and input, each proven by reading it again."""
    from grid.cli.trigger import find_table
    from grid.rootio.split import SplitRecipe
    from grid.storage.find import find_files
    from sitecfg.names import declared_files

    recipe = SplitRecipe(
        table=find_table(place, table) if table else None,
        event_trees=tree,
        identity=identity or SplitRecipe.identity,
        keep=keep,
        on_refused="drop" if drop_refused else "refuse",
        compression=compression,
        format=format,
    )
    streams = list(recipe.table.streams) if recipe.table is not None else ["all"]  # type: ignore[union-attr]
    plan = {
        url: {stream: out / f"{Path(name).stem}.{stream}.root" for stream in streams}
        for url, name in declared_files(find_files(files)).items()
    }
    taken = [path for targets in plan.values() for path in targets.values() if path.exists()]
    if taken:
        raise OutputExists(
            "the output exists", where=str(taken[0]), todo="choose another folder; nothing is overwritten"
        )
    if dry_run:
        rows = [(url, stream, str(path)) for url, targets in plan.items() for stream, path in targets.items()]
        show.rows(("input", "stream", "output"), rows, as_json=as_json)
        return
    _make_folder(out)
    reports = {}
    with show.bytes_bar(quiet=quiet or as_json) as bar:
        for url, targets in plan.items():
            task = bar.add_task(Path(url).name, total=None)
            reports[url] = _split_one(
                url, targets, recipe, lambda d, t, k=task: bar.update(k, completed=d, total=t)
            )
            bar.remove_task(task)
            if not as_json:
                _show_split(url, reports[url])
    if as_json:
        show.as_json(reports)


def _make_folder(out: Path) -> None:
    from grid.rootio.outfile import output_error

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, out) from error


def _split_one(url: str, targets: dict[str, Path], recipe: Any, progress: Any) -> dict[str, Any]:
    from grid.rootio.split import split as cut
    from grid.storage.fetch import local_copy
    from grid.storage.publish import Checksums, publish
    from grid.storage.temporary import temporary_name

    temps = {stream: temporary_name(path) for stream, path in targets.items()}
    done: list[Path] = []
    try:
        with local_copy(url, next(iter(targets.values())).parent) as path:
            report = cut(path, temps, recipe, progress=progress).to_json()
        for one in report["outputs"]:
            target = targets[one["stream"]]
            publish(temps[one["stream"]], target, proven=Checksums(one["bytes"], one["adler32"], one["xxh3"]))
            done.append(target)
            one["path"] = str(target)
    except BaseException:
        for path in (*temps.values(), *done):
            path.unlink(missing_ok=True)
        raise
    return report


def _show_split(url: str, report: dict[str, Any]) -> None:
    nowhere = sum(book["events"] for book in report["books"] if book["mask"] == 0)
    show.line(f"{url}: {report['events']:,} events, {nowhere:,} in no stream")
    show.table(
        ("stream", "events", "bytes", "adler32", "file"),
        [(o["stream"], o["events"], o["bytes"], o["adler32"], o["path"]) for o in report["outputs"]],
    )
    for tree, branch, why in report["dropped_branches"]:
        show.line(f"  left out {tree}: {branch}: {why}")
    for note in report["notes"]:
        show.line(f"  {note}")


@click.command()
@click.argument("out", type=PATH, help="The file to write; it must not exist.")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=ADDRESS,
    metavar="IN...",
    help="ROOT files: paths, globs or URLs, in this order.",
)
@IDENTITY
@TREE
@click.option(
    "--side",
    default="rule",
    help="'rule': rows of Runs, LuminosityBlocks … that are there already are left out; 'concat': none is.",
)
@click.option(
    "--duplicates",
    default="report",
    help="'report' keeps events that occur twice and ends with exit code 4; 'refuse' writes nothing.",
)
@click.option(
    "--verify",
    default="proven",
    help="'copied': structure; 'sealed': and checksums that need no unpacking; 'proven': every value, too.",
)
@click.option(
    "--schema",
    default="strict",
    help="'strict': the same branches in all; 'backfill': what some lack is filled with 0, or nothing, and recorded.",
)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), default=2, help="Stretches of a file that are copied at once."
)
@click.option(
    "--max-size",
    help="Like 2GB: write OUT with -1, -2 ... before its ending, each of whole inputs up to this size.",
)
@DROP_REFUSED
@COMPRESSION
@FORMAT
@DRY_RUN
@JSON
@QUIET
def merge(
    out: Path,
    files: tuple[str, ...],
    identity: tuple[str, ...],
    tree: tuple[str, ...],
    side: str,
    duplicates: str,
    verify: str,
    schema: str,
    jobs: int,
    max_size: str | None,
    drop_refused: bool,
    compression: str | None,
    format: str | None,  # noqa: A002 -- the option's name
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Merge files of one schema into one, and verify the result by reading it again.

    Events keep the order of the inputs. When events occur twice, exit code 4 says so, and the output is written all
    the same unless --duplicates refuse.
    """
    from grid.rootio.merging import MergeOptions

    options = MergeOptions(
        identity=identity or None,
        event_trees=tree,
        duplicates=duplicates,
        side=side,
        on_refused="drop" if drop_refused else "refuse",
        compression=None if compression == "keep" else compression,
        format=format,
        verify=verify,
        schema=schema,
        threads=jobs,
    )
    urls = in_order(files)
    plan = {out: urls} if max_size is None else _cut(out, urls, max_size)
    for target in plan:
        if target.exists():
            raise OutputExists(
                "the output exists", where=str(target), todo="choose another name; nothing is overwritten"
            )
    if not out.absolute().parent.is_dir():
        raise OutputError("its folder isn't there", where=str(out), todo="make the folder first")
    if dry_run:
        if as_json:
            told = [{"output": str(target), "inputs": parts} for target, parts in plan.items()]
            show.as_json(told[0] if max_size is None else told)
        else:
            show.table(("output", "input"), [(str(t), url) for t, parts in plan.items() for url in parts])
        return
    answers = []
    with show.bytes_bar(quiet=quiet or as_json) as bar:
        for target, parts in plan.items():
            task = bar.add_task(target.name, total=None)
            answers.append(
                _merge_one(parts, target, options, lambda d, t, k=task: bar.update(k, completed=d, total=t))
            )
            bar.remove_task(task)
            if not as_json:
                _show_merge(answers[-1])
    if as_json:
        show.as_json(answers[0] if max_size is None else answers)
    if any(answer["duplicates"]["events"] for answer in answers):
        raise Exit(DUPLICATES)


def _cut(out: Path, urls: list[str], max_size: str) -> dict[Path, list[str]]:
    """Share the inputs out, in their order, over outputs of at most this size; one input alone may be larger."""
    from grid.rootio.planning import groups
    from grid.storage.find import size_of
    from sitecfg.units import parse_bytes

    shared = groups([size_of(url) for url in urls], parse_bytes(max_size))
    return {
        out.with_name(f"{out.stem}-{number}{out.suffix}"): urls[first:stop]
        for number, (first, stop) in enumerate(shared, start=1)
    }


def _merge_one(urls: list[str], out: Path, options: Any, progress: Any) -> dict[str, Any]:
    from contextlib import ExitStack

    from grid.rootio.merge import merge as join
    from grid.storage.fetch import local_copy
    from grid.storage.publish import Checksums, publish
    from grid.storage.temporary import temporary_name

    temp = temporary_name(out)
    try:
        with ExitStack() as stack:
            paths = [stack.enter_context(local_copy(url, out.absolute().parent)) for url in urls]
            report = join(paths, temp, options, progress=progress)
        publish(temp, out, proven=Checksums(report.output.bytes, report.output.adler32, report.output.xxh3))
    finally:
        temp.unlink(missing_ok=True)
    answer = report.to_json()
    answer["output"]["path"] = str(out)
    return answer


def in_order(files: Iterable[str]) -> list[str]:
    """Return the addresses that paths, globs and URLs name, in the given order; a glob's matches are sorted."""
    from grid.storage.find import find_files

    return [url for pattern in files for url in find_files([pattern])]


def _show_merge(answer: dict[str, Any]) -> None:
    one = answer["output"]
    show.line(
        f"{one['path']}: {one['events']:,} events of {len(answer['inputs'])} files, {one['bytes']:,} bytes"
    )
    show.line(f"  adler32 {one['adler32']}  xxh3 {one['xxh3']}  fingerprint {one['fingerprint'] or '-'}")
    if answer["bytes_covered"] is not None:
        show.line(
            f"  {answer['verified']}: {answer['bytes_covered']:,} bytes read were under checksums of the format, which "
            f"all hold; {answer['bytes_not_covered']:,} were under none"
        )
    for tree, rows in answer["repeated_rows"].items():
        if rows:
            show.line(f"  {tree}: {rows} rows were there already and were not added again")
    for tree, branch, why in answer["dropped_branches"]:
        show.line(f"  left out {tree}: {branch}: {why}")
    for note in answer["notes"]:
        show.line(f"  {note}")
    for text in answer["duplicates"]["first"]:
        show.line(f"    {text}")

"""The house itself: what is packaged, what imports what, what the tree may hold, and that the README's words exist."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from functools import cache
from importlib import metadata
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HOUSE = Path(__file__).resolve().parent.parent
PACKAGES = ("catalog", "grid", "kernels", "sitecfg")
PROJECT = tomllib.loads((HOUSE / "pyproject.toml").read_text("utf-8"))
LARGEST_FILE = 1_000_000


@cache
def tracked() -> tuple[Path, ...]:
    """Every file of ours that git knows or would take; outside a checkout the tests that ask are skipped."""
    if not (HOUSE / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=HOUSE,
        check=True,
        capture_output=True,
        text=True,
    )
    return tuple(path for line in listed.stdout.splitlines() if (path := HOUSE / line).is_file())


def texts(*suffixes: str) -> dict[str, str]:
    """The readable files of the tree by their path from its top, this one left out."""
    answer = {}
    for path in tracked():
        if path == Path(__file__).resolve() or (suffixes and path.suffix not in suffixes):
            continue
        try:
            answer[path.relative_to(HOUSE).as_posix()] = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
    return answer


def modules() -> list[str]:
    """Every module of the four packages, by its dotted name."""
    return [
        name
        for package in PACKAGES
        for name in (
            package,
            *(
                found.name
                for found in pkgutil.walk_packages([str(HOUSE / package)], f"{package}.")
                if ".migrations" not in found.name and not found.name.endswith("__main__")
            ),
        )
    ]


def test_walls_between_the_rooms_stand() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=HOUSE,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_wall_has_a_sentence_of_reason() -> None:
    for contract in PROJECT["tool"]["importlinter"]["contracts"]:
        assert contract["broken_contract_guidance"].endswith("."), contract["name"]


def test_kernels_import_numpy_and_numba_and_nothing_else() -> None:
    graph = grimp.build_graph("kernels", include_external_packages=True, cache_dir=None)
    inside = {name for name in graph.modules if name.split(".")[0] == "kernels"}
    outside = {it for name in inside for it in graph.find_modules_directly_imported_by(name)} - inside
    assert {name.split(".")[0] for name in outside} - set(sys.stdlib_module_names) <= {"numpy", "numba"}


@pytest.mark.parametrize("name", modules())
def test_public_names_exist(name: str) -> None:
    module = importlib.import_module(name)
    public = getattr(module, "__all__", ())
    assert len(public) == len(set(public))
    missing = [word for word in public if not hasattr(module, word)]
    assert not missing, f"{name}.__all__ names what is not there: {missing}"


@pytest.mark.parametrize("name", modules())
def test_each_module_says_what_it_is(name: str) -> None:
    path = HOUSE.joinpath(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    assert ast.get_docstring(ast.parse(file.read_text("utf-8"))), f"{file} has no docstring"


@pytest.mark.parametrize("words", ["--help", "merge --help", "config show --help"])
def test_asking_for_help_imports_nothing_heavy(words: str) -> None:
    """What a verb takes is told, and refused, before anything that takes longer to import."""
    heavy = {
        "awkward",
        "dask",
        "distributed",
        "starlette",
        "numba",
        "numpy",
        "pydantic",
        "rich",
        "sqlalchemy",
        "uproot",
    }
    code = f"""
import sys
from grid.cli.main import app
assert app({words.split()}, standalone_mode=False) == 0
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=HOUSE, check=True, capture_output=True, text=True)
    assert "Usage: " in done.stdout
    assert not heavy & set(done.stderr.split())


def test_wheel_from_the_sources_holds_the_four_packages_and_what_they_need(tmp_path: Path) -> None:
    given = {path.relative_to(HOUSE).as_posix() for path in tracked()}
    # Without --wheel the source archive is built first, and the wheel from that.
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, HOUSE],
        check=True,
        capture_output=True,
    )
    (archive,) = tmp_path.glob("mdcgrid-*.tar.gz")
    with tarfile.open(archive) as sources:
        held = {name.partition("/")[2] for name in sources.getnames()}
    assert given <= held, "files that a checkout has and the source archive lacks"
    (wheel,) = tmp_path.glob("mdcgrid-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    wanted = {name for name in given if name.split("/")[0] in PACKAGES}
    assert wanted <= set(names), "files that a checkout has and the wheel lacks"


def test_the_environment_is_pinned_to_the_version() -> None:
    lines = [line for line in (HOUSE / "constraints.txt").read_text("utf-8").splitlines() if line[:1] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines)
    pinned = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    groups = PROJECT["dependency-groups"].values()
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    asked += [line for group in groups for line in group if isinstance(line, str)]
    for line in asked:
        wanted = Requirement(line)
        version = pinned[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(version, prereleases=True), f"{line} but {version} is pinned"


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    """Else an environment made of the wheel alone lacks something, or holds something for nothing."""
    graph = grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)
    outside = {name.split(".")[0] for name in graph.modules} - set(PACKAGES) - set(sys.stdlib_module_names)
    owners = metadata.packages_distributions()
    imported = {canonicalize_name(owner) for name in outside for owner in owners[name]}
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    assert imported == declared


def test_no_file_is_large() -> None:
    large = [path for path in tracked() if path.stat().st_size > LARGEST_FILE]
    assert not large


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the machine's business, not ours."""
    host = re.compile(
        r"\bpypi\.|pythonhosted|index-url|find-links|conda\.anaconda|(ghcr|quay|docker)\.io", re.IGNORECASE
    )
    assert {name: found[0] for name, text in texts().items() if (found := host.search(text))} == {}


def test_no_file_names_a_machine() -> None:
    """Absolute paths of somebody's machine work nowhere else."""
    place = re.compile(r"(?<![\w.~$}/-])/(root|work|Users)/\w[\w./-]*")
    assert {name: found[0] for name, text in texts().items() if (found := place.search(text))} == {}


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}
    assert not [name for name in modules() if drawers & set(name.split("."))]


def test_files_stay_readable() -> None:
    long = {name: count for name, text in texts(".py").items() if (count := text.count("\n")) > 450}
    assert not long


def test_each_test_file_mirrors_something() -> None:
    """tests/ROOM/test_x.py tests something of the room ROOM."""
    for path in sorted((HOUSE / "tests").rglob("test_*.py")):
        place = path.relative_to(HOUSE / "tests").parent
        # The mutants are about the tests themselves, the chaos is about the farm with all that it stands on.
        assert (HOUSE / place).is_dir() or place.name in ("mutants", "chaos"), f"{path} mirrors no room"


def test_make_has_what_the_readme_and_the_guide_promise() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (HOUSE / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {"demo", "test", "test-long", "check", "bench", "docs"} <= targets
    for name in ("README.md", "CONTRIBUTING.md", "docs/index.md", "docs/tutorial.md", ".ci/run"):
        said = re.findall(r"(?:^|`)make ([a-z-]+)", (HOUSE / name).read_text("utf-8"), re.MULTILINE)
        assert set(said) <= targets, name


def test_packaging_review_passes_and_each_exception_has_a_reason() -> None:
    for code, reason in PROJECT["tool"]["repo-review"]["ignore"].items():
        assert reason.endswith("."), code
    done = subprocess.run(
        [sys.executable, "-m", "repo_review", HOUSE], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout

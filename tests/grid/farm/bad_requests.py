"""Requests that the gateway must refuse, with the status and the error of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.catalog.world import SCOPE, written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from catalog.leases import Lease
    from tests.grid.farm.test_gateway_refusals import Stage

#: Bytes of the largest body that the gateway of these tests takes.
LIMIT = 300_000


def held(lease: Lease, **more: Any) -> dict[str, Any]:
    return {"job": lease.job, "epoch": lease.epoch, "runner": lease.runner, **more}


@dataclass(frozen=True)
class Case:
    """A request, and how it must be refused. ``body`` is JSON, bytes, or made from the stage."""

    name: str
    path: str
    body: Any
    status: int
    error: str = "UsageError"
    method: str = "POST"
    headers: Mapping[str, str] | None = None


def with_output(**changes: Any) -> Callable[[Stage], dict[str, Any]]:
    """A's commit, with something changed in its first output."""

    def body(stage: Stage) -> dict[str, Any]:
        first, *rest = stage.of_a["outputs"]
        changed = {key: value(first[key]) if callable(value) else value for key, value in changes.items()}
        return held(stage.a, result={**stage.of_a, "outputs": [{**first, **changed}, *rest]})

    return body


def with_result(**changes: Any) -> Callable[[Stage], dict[str, Any]]:
    return lambda stage: held(stage.a, result={**stage.of_a, **changes})


JSON = {"Content-Type": "application/json"}
CLAIM = {"cell": "c", "limit": 1}

STRANGERS = [
    Case(f"token: {name}", path, CLAIM, 401, "Unauthorized", headers={**JSON, **shown})
    for path in ("/claim", "/submit", "/nothing")
    for name, shown in {
        "none": {},
        "empty": {"Authorization": ""},
        "scheme alone": {"Authorization": "Bearer"},
        "wrong": {"Authorization": "Bearer wrong"},
        "begins alike": {"Authorization": "Bearer tok"},
        "longer": {"Authorization": "Bearer token0"},
        "no scheme": {"Authorization": "token"},
        "other scheme": {"Authorization": "Basic token"},
        "no ASCII": {"Authorization": "Bearer tök"},
        "in the query": {"X-Authorization": "Bearer token"},
    }.items()
]

FORGED = [
    Case(
        "commit: later epoch", "/commit", lambda s: held(s.a, result=s.of_a) | {"epoch": 2}, 409, "StaleLease"
    ),
    Case("commit: no epoch", "/commit", lambda s: held(s.a, result=s.of_a) | {"epoch": 0}, 409, "StaleLease"),
    Case(
        "commit: other token",
        "/commit",
        lambda s: held(s.a, result=s.of_a) | {"runner": "0" * 32},
        409,
        "StaleLease",
    ),
    Case(
        "commit: A's token for B",
        "/commit",
        lambda s: held(s.b, result=s.of_b) | {"runner": s.a.runner},
        409,
        "StaleLease",
    ),
    Case("commit: A's result for B", "/commit", lambda s: held(s.b, result=s.of_a), 422, "ClosureError"),
    Case(
        "commit: no such job", "/commit", lambda s: held(s.a, result=s.of_a) | {"job": 999}, 409, "StaleLease"
    ),
    Case(
        "fail: A's token for B",
        "/fail",
        lambda s: held(s.b, failure="payload", message="x") | {"runner": s.a.runner},
        409,
        "StaleLease",
    ),
    Case(
        "begin: second token",
        "/begin",
        lambda s: held(s.a, host="h", pid=1, worker="w") | {"runner": "0" * 32},
        409,
        "StaleLease",
    ),
    Case(
        "begin: later epoch",
        "/begin",
        lambda s: held(s.a, host="h", pid=1, worker="w") | {"epoch": 7},
        409,
        "StaleLease",
    ),
    Case(
        "begin: no such job",
        "/begin",
        lambda s: held(s.a, host="h", pid=1, worker="w") | {"job": 999},
        409,
        "StaleLease",
    ),
]

ELSEWHERE = [
    Case(f"output: {name}", "/commit", with_output(url=change), 422)
    for name, change in {
        "other folder": lambda url: "file:///etc/" + url.rpartition("/")[2],
        "above": lambda url: url.replace("/pool/", "/pool/../"),
        "through another": lambda url: url.replace(f"/{SCOPE}/", f"/{SCOPE}/x/../"),
        "escaped": lambda url: url.replace(f"/{SCOPE}/", f"/{SCOPE}/%2e%2e/{SCOPE}/"),
        "of another dataset": lambda url: url.replace("pass1.A.unmerged", "pass1.B.unmerged", 1),
        "other scheme": lambda url: url.replace("file://", "https://example.org"),
        "other name": lambda url: url.rpartition("/")[0] + "/a.root",
        "other run's name": lambda url: url.replace(".e1.", ".e2."),
        "no name": lambda url: url.rpartition("/")[0] + "/",
        "no address": lambda _: "",
        "no text": lambda _: 5,
    }.items()
] + [
    Case("output: logical name above", "/commit", with_output(name="../x.root"), 422, "BadName"),
    Case("output: logical name absolute", "/commit", with_output(name="/x.root"), 422, "BadName"),
    Case("output: other dataset", "/commit", with_output(dataset="test:raw"), 422),
    Case("output: dataset above", "/commit", with_output(dataset="test:../raw"), 422),
    Case("output: other parents", "/commit", with_output(parents=["test:b.root"]), 422),
    Case("result: events lost", "/commit", with_result(books=[]), 422, "ClosureError"),
    Case(
        "result: a section twice",
        "/commit",
        with_output(sections=[[1, 1, 1], [1, 1, 2]]),
        422,
        "ClosureError",
    ),
    Case("result: no outputs", "/commit", with_result(outputs=[]), 422, "ClosureError"),
    Case("result: outputs no list", "/commit", with_result(outputs={"0": 1}), 422),
    Case("result: outputs no objects", "/commit", with_result(outputs=[1, None, "x", []]), 422),
    Case("result: of another kind", "/commit", lambda s: held(s.a, result={"file": written("a", [1])}), 422),
    Case("result: huge measure", "/commit", with_result(measured={"peak_rss": 1 << 70}), 422),
    Case("result: huge count", "/commit", with_output(events=1 << 70), 422),
    Case(
        "fail: huge measure",
        "/fail",
        lambda s: held(s.a, failure="payload", message="x", measured={"peak_rss": 1 << 70}),
        422,
    ),
    Case("fail: long class", "/fail", lambda s: held(s.a, failure="x" * 17, message="x"), 422),
]

MALFORMED = (
    [
        Case(f"malformed {path}: {name}", path, body, 422)
        for path in ("/claim", "/renew", "/commit", "/priority", "/declare")
        for name, body in {
            "nothing": b"",
            "half": b'{"what": ',
            "two": b"{} {}",
            "null": b"null",
            "list": b"[]",
            "text": b'"text"',
            "nothing in it": b"{}",
            "not UTF-8": b'{"what": "\xff\xfe"}',
            "UTF-16": '{"what": "x"}'.encode("utf-16"),
            "a BOM": b"\xef\xbb\xbf{}",
            "raw NUL": b'{"what": "a\x00b"}',
            "nested": b'{"what": ' + b"[" * 100_000,
            "nested and closed": b'{"what": ' + b"[" * 900 + b"]" * 900 + b"}",
        }.items()
    ]
    + [
        Case(f"malformed: {name}", path, body, 422)
        for name, path, body in [
            ("a number as text", "/claim", {"cell": "c", "limit": "1"}),
            ("nothing wanted", "/claim", {"cell": "c", "limit": 0}),
            ("too many wanted", "/claim", {"cell": "c", "limit": 10**9}),
            ("no whole number", "/claim", {"cell": "c", "limit": 1.5}),
            ("infinite", "/claim", b'{"cell": "c", "limit": 1, "wait_s": 1e999}'),
            ("NaN", "/claim", b'{"cell": "c", "limit": 1, "wait_s": NaN}'),
            ("6000 digits", "/claim", b'{"cell": "c", "limit": ' + b"9" * 6000 + b"}"),
            ("another key", "/claim", {**CLAIM, "more": 1}),
            ("a key twice", "/claim", b'{"cell": "c", "limit": 1, "cell": "d"}'),
            ("NUL", "/claim", {"cell": "c\0", "limit": 1}),
            ("half a pair", "/claim", b'{"cell": "\\ud800", "limit": 1}'),
            ("a control character", "/claim", {"cell": "a\nb", "limit": 1}),
            (
                "huge job",
                "/begin",
                {"job": 1 << 63, "epoch": 1, "runner": "0" * 32, "host": "h", "pid": 1, "worker": "w"},
            ),
            ("negative epoch", "/renew", {"leases": [{"job": 1, "epoch": -1, "runner": "0" * 32}]}),
            ("token that is none", "/renew", {"leases": [{"job": 1, "epoch": 1, "runner": "../../x"}]}),
            ("no token", "/renew", {"leases": [{"job": 1, "epoch": 1}]}),
            ("other type", "/release", {"leases": "all"}),
            ("wrong type", "/priority", {"what": "pass1", "priority": "1"}),
            ("truth", "/priority", {"what": "pass1", "priority": True}),
            ("beyond", "/priority", {"what": "pass1", "priority": 1 << 40}),
            ("huge job", "/retry", {"job": 1 << 70}),
            ("nothing named", "/retry", {}),
            ("no reason", "/cancel", {"what": "pass1", "why": "  "}),
            ("no such state", "/dataset", {"what": "test:raw", "state": "frozen"}),
        ]
    ]
    + [
        Case(f"result: {name}", "/commit", body, 422)
        for name, body in {
            "NaN": lambda s: json.dumps(held(s.a, result={**s.of_a, "notes": [float("nan")]})).encode(),
            "infinite": lambda s: json.dumps(held(s.a, result=s.of_a)).replace("1.5", "1e999").encode(),
            "NUL": with_result(notes=["a\0b"]),
            "NUL in a key": with_result(notes=[{"a\0b": 1}]),
            "half a pair": with_result(notes=["\udc00"]),
            "nested": with_result(notes=json.loads("[" * 100 + "]" * 100)),
        }.items()
    ]
)

RECIPES: list[tuple[dict[str, Any], str]] = [
    ({"script": "../../grid"}, "UsageError"),
    ({"script": "/etc/passwd"}, "UsageError"),
    ({"script": "0" * 64}, "UsageError"),
    ({"conditions": "../x"}, "UsageError"),
    ({"inputs": 5}, "UsageError"),
    ({"inputs": "test:../raw"}, "BadName"),
    ({"merge": "1 GB"}, "UsageError"),
    ({"merge": -1}, "UsageError"),
    ({"identity": "run"}, "UsageError"),
    ({"keep": [1]}, "UsageError"),
    ({"table": []}, "UsageError"),
    ({"table": {"name": "T"}}, "TriggerTableError"),
    ({"unknown": 1}, "UsageError"),
]
OPERATIONS: list[tuple[str, dict[str, Any]]] = [
    ("/pause", {"why": "x"}),
    ("/resume", {}),
    ("/priority", {"priority": 1}),
    ("/cancel", {"why": "x"}),
    ("/invalidate", {"why": "x"}),
    ("/dataset", {"state": "closed"}),
]

PATHS = [
    Case(f"names: {name}", path, body, status, error)
    for name, path, body, status, error in [
        (
            f"{part} {bad!r}",
            "/declare",
            {"dataset": "test:raw", "files": [{"name": "c.root", "url": "file:///raw/c.root"} | {part: bad}]},
            422,
            kind,
        )
        for part, kind, bads in [
            (
                "name",
                "BadName",
                ["../c.root", "/c.root", "a/c.root", "..", "c\u202eroot", "%2e%2e", "c\n.root", "ﬁ.root"],
            ),
            (
                "url",
                "UsageError",
                ["c.root", "../c.root", "/etc/passwd", "file:c.root", "file:///a\nb", "a b://x"],
            ),
        ]
        for bad in bads
    ]
    + [
        (
            f"dataset {bad!r}",
            "/declare",
            {"dataset": bad, "files": [{"name": "c", "url": "file:///c"}]},
            422,
            "BadName",
        )
        for bad in [
            "raw",
            "test:",
            ":raw",
            "test:../raw",
            "../test:raw",
            "test:a/b",
            "test:%2e%2e",
            "test:..",
            "tëst:raw",
        ]
    ]
    + [
        (
            f"production {bad!r}",
            "/submit",
            {"name": bad, "scope": "test", "recipe": {"inputs": "test:raw"}},
            422,
            "BadName",
        )
        for bad in ["", "../x", "/x", "a/b", "..", "a--b", "x" * 300, "ä"]
    ]
    + [
        (
            f"scope {bad!r}",
            "/submit",
            {"name": "p2", "scope": bad, "recipe": {"inputs": "test:raw"}},
            422,
            "BadName",
        )
        for bad in ["", "..", "../x", "a/b"]
    ]
    + [
        (
            f"recipe {bad}",
            "/submit",
            {"name": "p2", "scope": "test", "recipe": {"inputs": "test:raw"} | bad},
            422,
            kind,
        )
        for bad, kind in RECIPES
    ]
    + [
        (f"{path} {bad!r}", path, {"what": bad, **more}, status, kind)
        for path, more in OPERATIONS
        for bad, status, kind in [("test:../a.root", 422, "BadName"), ("test:nothing", 404, "NotFound")]
    ]
    + [
        (
            "a huge tag",
            "/triggers",
            {"name": "T", "tag": 1 << 70, "streams": {"A": ["x"]}},
            422,
            "TriggerTableError",
        ),
        ("no streams", "/triggers", {"name": "T", "tag": 1, "streams": 5}, 422, "TriggerTableError"),
        (
            "a table above",
            "/triggers",
            {"name": "../T", "tag": 1, "streams": {"A": ["x"]}},
            422,
            "TriggerTableError",
        ),
        (
            "another recipe",
            "/submit",
            {"name": "p1", "scope": "test", "recipe": {"inputs": "test:raw", "merge": 1}},
            422,
            "RecipeChanged",
        ),
        (
            "one file twice",
            "/declare",
            {"dataset": "test:raw", "files": [{"name": "c", "url": "file:///raw/a.root"}]},
            422,
            "DuplicateEvents",
        ),
        (
            "a name twice",
            "/declare",
            {"dataset": "test:raw", "files": [{"name": "a.root", "url": "file:///c"}]},
            422,
            "OutputExists",
        ),
        ("held by nobody", "/retry", {"job": 999}, 404, "NotFound"),
        ("no such production", "/retry", {"production": "pass2"}, 404, "NotFound"),
    ]
]

ROUTES = [
    Case("no such route", "/nothing", {}, 404, "NotFound"),
    Case("above", "/../etc/passwd", None, 404, "NotFound", "GET"),
    Case("escaped", "/%2e%2e/claim", {}, 404, "NotFound"),
    Case("twice", "//claim", CLAIM, 404, "NotFound"),
    Case("NUL", "/productions/%00", None, 400, method="GET"),
    Case("a line", "/productions/a%0aRefused", None, 400, method="GET"),
    Case("no such production", "/productions/..", None, 404, "NotFound", "GET"),
    Case("huge tag", f"/triggers/T/{1 << 70}", None, 422, method="GET"),
    Case("docs", "/openapi.json", None, 404, "NotFound", "GET"),
    *(
        Case(f"{method} claim", "/claim", None, 405, method=method)
        for method in ("GET", "PUT", "DELETE", "PATCH")
    ),
    Case("POST health", "/health", {}, 405),
    Case(
        "form",
        "/claim",
        b"cell=c&limit=1",
        415,
        headers={"Authorization": "Bearer token", "Content-Type": "application/x-www-form-urlencoded"},
    ),
    Case("no type", "/claim", b"{}", 415, headers={"Authorization": "Bearer token"}),
    Case(
        "text", "/pause", b"{}", 415, headers={"Authorization": "Bearer token", "Content-Type": "text/plain"}
    ),
    Case("too large", "/claim", b" " * (LIMIT + 1), 413),
    Case("too large in pieces", "/claim", lambda _: iter([b" " * (LIMIT // 2)] * 3), 413),
    Case("too large for the desk", "/submit", b" " * (LIMIT + 1), 413),
]

CASES = {
    "strangers": STRANGERS,
    "forged": FORGED,
    "elsewhere": ELSEWHERE,
    "malformed": MALFORMED,
    "names": PATHS,
    "routes": ROUTES,
}

"""Rights that nobody used, by what the records say."""

from __future__ import annotations

from typing import Any

from bulkhead.audit.unused import Grant, granted
from bulkhead.spec import EgressRule, Mount, SecretBinding, Server, ServerSpec, Tools

SPEC = ServerSpec(
    "github", Server(package="npm:x@1"), tools=Tools(allow=("get_*", "create_issue")),
    egress=(EgressRule("api.example.com", (443, 80)), EgressRule("*.example.com", (443,))),
    secrets=(SecretBinding("TOKEN", "env:T"), SecretBinding("OTHER", "env:O")),
    mounts=(Mount("/a", "/data", write=True), Mount("/b", "/read")),
)  # fmt: skip
USED = [
    Grant("tool", "get_*", 2, "t2"),
    Grant("egress", "api.example.com:443,80", 1, "t3"),
    Grant("secret", "TOKEN", 1, "t4"),
]
UNUSED = [Grant("tool", "create_issue", 0), Grant("egress", "*.example.com:443", 0), Grant("secret", "OTHER", 0)]


def record(event: str, time: str, decision: str = "allow", server: str = "github", **more: Any) -> dict[str, Any]:
    return {"event": event, "time": time, "decision": decision, "server": server} | more


def test_each_right_is_there_with_its_use() -> None:
    records = [
        record("request", "t1", tool="get_issue"),
        record("request", "t2", "rewrite", tool="get_me"),
        record("connection", "t3", details={"host": "api.example.com", "port": 443, "rule": "api.example.com:443,80"}),
        record("secret", "t4", details={"name": "TOKEN"}),
    ]
    assert sorted(granted(SPEC, records)) == sorted([*USED, *UNUSED, Grant("mount", "/data", None)])


def test_what_was_denied_or_is_anothers_is_no_use() -> None:
    records = [
        record("request", "t1", "deny", tool="get_issue"),
        record("request", "t1", "hold", tool="create_issue"),
        record("request", "t1", server="other", tool="get_issue"),
        record("result", "t1", tool="get_issue"),
        record("connection", "t1", "deny", details={"rule": "api.example.com:443,80"}),
        record("request", "t1"),
        record("secret", "t1", details="no object"),
    ]
    assert [grant for grant in granted(SPEC, records) if grant.used] == []

"""Records for other systems: required fields, allowed values, escaping. The tables were written from the formats' own
documentation: OCSF 1.5 (base event, API Activity, and the objects in it), ECS 8 (categorisation fields), CEF 0."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from bulkhead.audit.export import FORMATS
from bulkhead.audit.record import START, Record, line_of, split

HOSTILE = 'x|y=z\\ "q"\n\r\x1b[31m\u202e\ud800'
TIME = "2026-11-21T16:23:51.215999Z"
EVENTS = ("session.start", "session.end", "request", "result", "connection", "secret", "pin", "kill", "checkpoint")
FULL: dict[str, Any] = {
    "method": "tools/call", "tool": HOSTILE, "request_id": HOSTILE, "trace_id": "a" * 32, "reason": "denied",
    "notes": (HOSTILE,), "actor": "me@host", "details": {"host": "api.example.com", "port": 443, "note": HOSTILE},
}  # fmt: skip
CASES = [(event, decision, full) for event in EVENTS for decision in ("allow", "deny", "hold", "") for full in (0, 1)]

OCSF_REQUIRED = (
    "activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id", "metadata", "actor", "api",
    "src_endpoint",
)  # fmt: skip
OCSF_ACTIVITIES, OCSF_SEVERITIES, OCSF_STATUSES = {0, 1, 2, 3, 4, 99}, {0, 1, 2, 3, 4, 5, 6, 99}, {0, 1, 2, 99}
OCSF_ENDPOINT = {"ip", "uid", "name", "hostname", "svc_name", "instance_uid", "interface_uid", "interface_name"}
OCSF_ACTOR = {"process", "user", "invoked_by", "session", "app_name", "app_uid"}

ECS_KINDS = {"alert", "asset", "enrichment", "event", "metric", "state", "pipeline_error", "signal"}
ECS_TYPES = {  # the types that each category expects
    "api": {"access", "admin", "allowed", "change", "creation", "deletion", "denied", "end", "info", "start", "user"},
    "network": {"access", "allowed", "connection", "denied", "end", "info", "protocol", "start"},
    "session": {"start", "end", "info"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
}


def record_of(event: str, decision: str, full: int) -> dict[str, Any]:
    line, _ = line_of(
        Record(event, decision, "git|hub", "0" * 12, **(FULL if full else {})), START, TIME, lambda _: "0" * 32
    )
    sealed = split(line)
    assert sealed is not None
    return sealed.read()


@pytest.mark.parametrize(("event", "decision", "full"), CASES)
def test_ocsf_has_what_an_api_activity_requires(event: str, decision: str, full: int) -> None:
    found = json.loads(FORMATS["ocsf"](record_of(event, decision, full)))
    assert [key for key in OCSF_REQUIRED if key not in found] == []
    assert (found["class_uid"], found["category_uid"]) == (6003, 6)
    assert found["type_uid"] == found["class_uid"] * 100 + found["activity_id"]
    assert found["activity_id"] in OCSF_ACTIVITIES
    assert found["severity_id"] in OCSF_SEVERITIES
    assert found["status_id"] in OCSF_STATUSES
    assert found["time"] == 1795278231215
    assert re.fullmatch(r"1\.\d+\.\d+", found["metadata"]["version"])
    assert {"name", "vendor_name"} <= found["metadata"]["product"].keys()
    assert isinstance(found["api"]["operation"], str)
    assert found["actor"].keys() & OCSF_ACTOR
    for endpoint in ("src_endpoint", "dst_endpoint"):
        assert found[endpoint].keys() & OCSF_ENDPOINT
    assert (found["status"] == "Failure") == (decision == "deny")


@pytest.mark.parametrize(("event", "decision", "full"), CASES)
def test_ecs_has_its_categories(event: str, decision: str, full: int) -> None:
    found = json.loads(FORMATS["ecs"](record_of(event, decision, full)))
    assert found["@timestamp"] == TIME
    assert found["ecs"]["version"].startswith("8.")
    assert found["event"]["kind"] in ECS_KINDS
    (category,) = found["event"]["category"]
    assert set(found["event"]["type"]) <= ECS_TYPES[category]
    assert found["event"]["outcome"] in {"success", "failure", "unknown"}
    assert (found["event"]["outcome"] == "failure") == (decision in ("deny", "hold"))


@pytest.mark.parametrize(("event", "decision", "full"), CASES)
def test_cef_is_one_line_that_reads_back(event: str, decision: str, full: int) -> None:
    record = record_of(event, decision, full)
    line = FORMATS["cef"](record)
    assert line.isprintable()
    fields, extension = cef(line)
    assert fields[:3] == ["CEF:0", "Bulkhead", "Bulkhead"]
    assert fields[4] == event
    assert 0 <= int(fields[6]) <= 10
    assert extension["externalId"] == "1"
    assert extension["cs5"] == record["hash"]
    assert {f"cs{number}Label" in extension for number in range(1, 7) if f"cs{number}" in extension} == {True}
    if full:
        assert extension["cs1"].replace("\\n", "\n").startswith('x|y=z\\ "q"\n')
        assert json.loads(extension["cs6"])["port"] == 443


def cef(line: str) -> tuple[list[str], dict[str, str]]:
    """As a reader does it: the header ends at the seventh bar, a value where the next key begins."""
    parts = re.split(r"(?<!\\)\|", line, maxsplit=7)
    assert len(parts) == 8
    pairs = re.findall(r"(?:^| )([A-Za-z0-9]+)=((?:\\.|[^\\=])*?)(?= [A-Za-z0-9]+=|$)", parts[7])
    assert " ".join(f"{key}={value}" for key, value in pairs) == parts[7]
    read = {key: value.replace("\\=", "=").replace("\\\\", "\\") for key, value in pairs}
    return [part.replace("\\|", "|") for part in parts[:7]], read


def test_an_address_is_where_a_siem_looks_for_it() -> None:
    record = record_of("connection", "deny", 1)
    assert json.loads(FORMATS["ocsf"](record))["dst_endpoint"] == {"hostname": "api.example.com", "port": 443}
    assert json.loads(FORMATS["ecs"](record))["destination"] == {"domain": "api.example.com", "port": 443}
    extension = cef(FORMATS["cef"](record))[1]
    assert (extension["dhost"], extension["dpt"], extension["act"]) == ("api.example.com", "443", "deny")


@pytest.mark.parametrize("form", ["ocsf", "ecs", "json"])
def test_nothing_of_a_record_is_lost(form: str) -> None:
    record = record_of("request", "deny", 1)
    text = json.loads(FORMATS[form](record))
    kept = {"ocsf": "unmapped", "ecs": "bulkhead"}.get(form)
    assert (text[kept] if kept else text).items() >= {k: v for k, v in record.items() if k not in ("v", "time")}.items()


def test_a_cef_header_is_escaped() -> None:
    record = record_of("request", "allow", 0) | {"decision": "a|b\\c\nd"}
    assert FORMATS["cef"](record).split("|externalId")[0].count(r"request a\|b\\c d|") == 1

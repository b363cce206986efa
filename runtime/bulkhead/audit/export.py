"""A record as other systems read it: OCSF, CEF, ECS, or its own JSON. PURE: one record in, one line out.

OCSF 1.5 API Activity (class 6003), ECS 8 with what has no field there under `bulkhead`, CEF:0. What a format has no
place for is kept: under `unmapped`, `bulkhead`, and as JSON in cs6.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bulkhead import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_encode = json.JSONEncoder(separators=(",", ":")).encode

# OCSF, CEF and ECS each count otherwise how bad something is. What is no failure is information.
_BAD = frozenset({"deny", "hold"})
_ALARMS = frozenset({"truncated", "torn", "kill"})
_OCSF_SEVERITY = {1: "Informational", 3: "Medium", 4: "High"}
_OCSF_STATUS = {"allow": 1, "rewrite": 1, "deny": 2, "hold": 99}
_OCSF_STATUS_NAMES = ("Unknown", "Success", "Failure")
_ACTIVITY = {"session.start": (1, "Create"), "session.end": (4, "Delete")}  # all else: what was called is not known
_ECS_CATEGORY = {
    "connection": "network",
    "session.start": "session",
    "session.end": "session",
    "profile": "configuration",
}
_ECS_TYPE = {"session.start": "start", "session.end": "end", "connection": "connection", "profile": "change"}
_ECS_JUDGED = {"allow": "allowed", "rewrite": "allowed", "deny": "denied"}


def to_json(record: Mapping[str, Any]) -> str:
    """As it stands in the log, its place in the chain included."""
    return _encode(dict(record))


def to_ocsf(record: Mapping[str, Any]) -> str:
    """API Activity: who asked which server for what, and what was decided."""
    severity = _severity(record, (1, 3, 4))
    activity, name = _ACTIVITY.get(record["event"], (99, record["event"]))
    status = _OCSF_STATUS.get(record.get("decision", ""), 0)
    event = {
        "activity_id": activity,
        "activity_name": name,
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": 6003,
        "class_name": "API Activity",
        "type_uid": 600300 + activity,
        "type_name": f"API Activity: {name}",
        "time": _milliseconds(record["time"]),
        "severity_id": severity,
        "severity": _OCSF_SEVERITY[severity],
        "status_id": status,
        "status": record.get("decision", "") if status == 99 else _OCSF_STATUS_NAMES[status],
        "status_code": record.get("reason", ""),
        "message": _message(record),
        "actor": _ocsf_actor(record),
        "api": _ocsf_api(record),
        "src_endpoint": {"name": "localhost", "svc_name": "bulkhead"},
        "dst_endpoint": _ocsf_target(record),
        "metadata": _ocsf_metadata(record),
        "unmapped": _rest(record),
    }
    return _encode({key: value for key, value in event.items() if value not in ("", {}, None)})


def to_ecs(record: Mapping[str, Any]) -> str:
    """Elastic Common Schema."""
    decision, details = record.get("decision", ""), _details(record)
    category = _ECS_CATEGORY.get(record["event"], "api")
    types = [_ECS_TYPE.get(record["event"], "info")]
    if category in ("api", "network") and decision in _ECS_JUDGED:
        types.append(_ECS_JUDGED[decision])
    host, port = details.get("host"), details.get("port")
    event = {
        "@timestamp": record["time"],
        "ecs": {"version": "8.11.0"},
        "message": _message(record),
        "event": {
            "kind": "alert" if record["event"] in _ALARMS else "event",
            "category": [category],
            "type": types,
            "action": record["event"],
            "outcome": "failure" if decision in _BAD else "success" if decision else "unknown",
            "module": "bulkhead",
            "dataset": "bulkhead.audit",
            "provider": "bulkhead",
            "id": record["hash"],
            "sequence": record["seq"],
            "severity": _severity(record, (1, 5, 8)),
            "reason": record.get("reason", ""),
        },
        "observer": {"vendor": "Bulkhead", "product": "Bulkhead", "type": "sandbox", "version": __version__},
        "service": {"name": record["server"]} if record["server"] else {},
        "trace": {"id": record["trace_id"]} if "trace_id" in record else {},
        "user": {"name": record["actor"]} if "actor" in record else {},
        "destination": {"domain": host, "port": port} if host else {},
        "bulkhead": _rest(record),
    }
    event["event"] = {key: value for key, value in event["event"].items() if value != ""}
    return _encode({key: value for key, value in event.items() if value not in ("", {})})


def to_cef(record: Mapping[str, Any]) -> str:
    """ArcSight's Common Event Format, without a syslog header."""
    details = _details(record)
    name = " ".join(filter(None, (record["event"], record.get("decision"))))
    header = ("Bulkhead", "Bulkhead", __version__, record["event"], name, str(_severity(record, (1, 5, 8))))
    fields = {
        "rt": _milliseconds(record["time"]),
        "externalId": record["seq"],
        "act": record.get("decision", ""),
        "reason": record.get("reason", ""),
        "suser": record.get("actor", ""),
        "sourceServiceName": record["server"],
        "requestMethod": record.get("method", ""),
        "dhost": details.get("host", ""),
        "dpt": details.get("port", ""),
        "msg": "; ".join(map(str, record.get("notes", ()))),
        **_labelled("tool", 1, record.get("tool", "")),
        **_labelled("session", 2, record["session"]),
        **_labelled("trace", 3, record.get("trace_id", "")),
        **_labelled("request", 4, record.get("request_id", "")),
        **_labelled("hash", 5, record["hash"]),
        **_labelled("details", 6, _encode(details) if details else ""),
    }
    extension = " ".join(f"{key}={_cef_value(value)}" for key, value in fields.items() if value != "")
    return f"CEF:0|{'|'.join(map(_cef_header, header))}|{extension}"


FORMATS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "ocsf": to_ocsf,
    "cef": to_cef,
    "ecs": to_ecs,
    "json": to_json,
}


def _severity(record: Mapping[str, Any], scale: tuple[int, int, int]) -> int:
    if record["event"] in _ALARMS:
        return scale[2]
    return scale[1] if record.get("decision") in _BAD else scale[0]


def _ocsf_actor(record: Mapping[str, Any]) -> dict[str, Any]:
    actor: dict[str, Any] = {"app_name": "bulkhead"}
    if record["session"]:
        actor["session"] = {"uid": record["session"]}
    if "actor" in record:
        actor["user"] = {"name": record["actor"]}
    return actor


def _ocsf_api(record: Mapping[str, Any]) -> dict[str, Any]:
    api: dict[str, Any] = {"operation": record.get("tool") or record.get("method") or record["event"]}
    if record["server"]:
        api["service"] = {"name": record["server"]}
    if "request_id" in record:
        api["request"] = {"uid": record["request_id"]}
    return api


def _ocsf_target(record: Mapping[str, Any]) -> dict[str, Any]:
    details = _details(record)
    if "host" in details:
        port = details.get("port")
        return {"hostname": str(details["host"])} | ({"port": port} if type(port) is int else {})
    return {"svc_name": record["server"]} if record["server"] else {}


def _ocsf_metadata(record: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {
        "version": "1.5.0",
        "product": {"name": "Bulkhead", "vendor_name": "Bulkhead", "version": __version__},
        "uid": record["hash"],
        "sequence": record["seq"],
        "event_code": record["event"],
        "original_time": record["time"],
        "log_name": "audit",
        "log_provider": "bulkhead",
    }
    return metadata | ({"correlation_uid": record["trace_id"]} if "trace_id" in record else {})


def _rest(record: Mapping[str, Any]) -> dict[str, Any]:
    """All of it, flat enough for an index: what has a field of its own stands twice."""
    return {key: value for key, value in record.items() if key not in ("v", "time")}


def _details(record: Mapping[str, Any]) -> Mapping[str, Any]:
    found = record.get("details")
    return found if isinstance(found, dict) else {}


def _message(record: Mapping[str, Any]) -> str:
    words = (record["server"], record["event"], record.get("method"), record.get("tool"), record.get("decision"))
    return " ".join(filter(None, (*words, record.get("reason"))))


def _milliseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000)


def _labelled(label: str, number: int, value: Any) -> dict[str, Any]:
    return {f"cs{number}Label": label, f"cs{number}": value} if value else {}


def _cef_header(text: str) -> str:
    """Backslash and bar are escaped, and there is one line."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\r", " ").replace("\n", " ")


def _cef_value(value: Any) -> str:
    """Backslash, equals sign and ends of lines are escaped; what a reader of text could take for an order is shown."""
    text = str(value).replace("\\", "\\\\").replace("=", "\\=").replace("\r", "\\r").replace("\n", "\\n")
    return "".join(c if c.isprintable() else f"\\\\u{ord(c):04x}" for c in text)

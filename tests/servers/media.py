"""What the fixture serves: an image, a sound, resources, prompts and schemas."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any


def object_schema(properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """The JSON schema of an object."""
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})


def text_block(value: str) -> dict[str, Any]:
    """A content block."""
    return {"type": "text", "text": value}


def embedded(uri: str, value: str, mime: str = "text/plain") -> dict[str, Any]:
    """A content block that holds a text resource."""
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": value}}


def _png() -> str:
    """One red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0\xff\0\0")
    body = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
    return base64.b64encode(body).decode()


def _wav() -> str:
    """One silent sample, 8 kHz, 8 bit, mono."""
    form = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 1) + b"\x80\0"
    return base64.b64encode(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks).decode()


IMAGE = {"type": "image", "data": _png(), "mimeType": "image/png"}
AUDIO = {"type": "audio", "data": _wav(), "mimeType": "audio/wav"}
MIXED = embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")

RESOURCES: dict[str, dict[str, Any]] = {
    "test://static-text": {"mimeType": "text/plain", "text": "This is the content of the static text resource."},
    "test://static-binary": {"mimeType": "image/png", "blob": _png()},
    "test://watched-resource": {"mimeType": "text/plain", "text": "Watch me."},
}

# Names, and the arguments that each requires.
PROMPTS: dict[str, tuple[str, ...]] = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
}


def prompt(name: str, arguments: dict[str, str]) -> list[dict[str, Any]]:
    """The messages of a prompt."""
    blocks: dict[str, list[dict[str, Any]]] = {
        "test_simple_prompt": [text_block("This is a simple prompt for testing.")],
        "test_prompt_with_arguments": [
            text_block("Prompt with arguments: " + ", ".join(f"{key}='{value}'" for key, value in arguments.items()))
        ],
        "test_prompt_with_embedded_resource": [
            embedded(arguments.get("resourceUri", ""), "Embedded resource content for testing."),
            text_block("Please process the embedded resource above."),
        ],
        "test_prompt_with_image": [IMAGE, text_block("Please analyze the image above.")],
    }
    return [{"role": "user", "content": block} for block in blocks[name]]


ANY_OBJECT: dict[str, Any] = {"type": "object"}

# Elicitation with a default of every primitive type.
DEFAULTS: dict[str, Any] = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}

_TITLED = [{"const": f"value{number}", "title": f"Choice {number}"} for number in (1, 2, 3)]

# Elicitation with every kind of choice.
ENUMS: dict[str, Any] = {
    "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
    "titledSingle": {"type": "string", "oneOf": _TITLED},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
    "titledMulti": {"type": "array", "items": {"anyOf": _TITLED}},
}

# Every keyword of the dialect that a careless middle man loses.
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {
        "address": {"$anchor": "addressDef"} | object_schema({"street": {"type": "string"}, "city": {"type": "string"}})
    },
    **object_schema(
        {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        }
    ),
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

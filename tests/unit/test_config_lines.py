"""The line of a key, however it is written."""

from __future__ import annotations

import tomllib

from bulkhead.config.locate import line_of, locate

LOCATED = '''# a comment with [brackets]
description = """
[server]
args = 1
"""
a.b . "c\\u0064" = [  # one
  "]", 2,
]
inline = { x = 1, y = "}" }

[server]
'quoted.key' = 1
[[mounts]]
source = 'a'
[[mounts]]
source = "b\\"]"
[mounts.more]
deep = 1
[[mounts.list]]
z = 1
[[mounts.list]]
z = 2
'''


def test_lines_of_every_way_to_write_a_key() -> None:
    tomllib.loads(LOCATED)
    lines = locate(LOCATED)
    assert lines == {
        ("description",): 2, ("a", "b", "cd"): 6, ("inline",): 9, ("server",): 11, ("server", "quoted.key"): 12,
        ("mounts",): 13, ("mounts", 0): 13, ("mounts", 0, "source"): 14, ("mounts", 1): 15, ("mounts", 1, "source"): 16,
        ("mounts", 1, "more"): 17, ("mounts", 1, "more", "deep"): 18, ("mounts", 1, "list"): 19,
        ("mounts", 1, "list", 0): 19,
        ("mounts", 1, "list", 0, "z"): 20, ("mounts", 1, "list", 1): 21, ("mounts", 1, "list", 1, "z"): 22,
    }  # fmt: skip
    assert line_of(lines, ("inline", "y")) == 9
    assert line_of(lines, ("nowhere",)) == 1

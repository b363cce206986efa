"""Configurations of all hosts, as people have them: each with one server of npm, one of PyPI, and what each host adds.

TOKEN stands for a secret, and is put there when a file is written: no scanner of repositories takes this for a leak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "gh" + "p_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
_MARK = "@TOKEN@"

_PLAIN = """{
  "theme": "dark",
  "mcpServers": {
    "time": { "command": "uvx", "args": ["mcp-server-time==2026.10.19", "--local-timezone=UTC"] },
    "github": {
      "command": "npx",
      "args": ["-y", "@modelcontextprotocol/server-github@2025.4.8"],
      "env": {
        "GITHUB_PERSONAL_ACCESS_TOKEN": "@TOKEN@"
      }
    },
    "remote": {"url": "https://mcp.example.com/mcp"},
    "boxed": {"command": "docker", "args": ["run", "-i", "--rm", "mcp/time"]},
    "own": {"command": "/opt/mine/server", "args": []}
  }
}
"""
_CLAUDE_CODE = """{
  "numStartups": 3,
  "mcpServers": {
    "time": {
      "type": "stdio",
      "command": "uvx",
      "args": [
        "mcp-server-time==2026.10.19"
      ],
      "env": {}
    }
  },
  "projects": {
    "/home/me/shop": {
      "allowedTools": [],
      "mcpServers": {
        "github": {
          "command": "npx",
          "args": ["-y", "@modelcontextprotocol/server-github@2025.4.8"],
          "env": {"GITHUB_PERSONAL_ACCESS_TOKEN": "@TOKEN@"}
        }
      }
    },
    "/home/me/other": {}
  }
}
"""
_VSCODE = """\ufeff{\r
  // asked for once\r
  "inputs": [{"type": "promptString", "id": "key", "password": true}],\r
  "servers": {\r
    "time": {"type": "stdio", "command": "uvx", "args": ["mcp-server-time==2026.10.19"]}, /* ours */\r
    "asked": {"command": "npx", "args": ["-y", "server@1.0.0"], "env": {"API_KEY": "${input:key}"}},\r
    "filed": {"command": "npx", "args": ["-y", "server@1.0.0"], "envFile": "${workspaceFolder}/.env"},\r
    "github": {\r
      "command": "npx",\r
      "args": ["-y", "@modelcontextprotocol/server-github@2025.4.8",],\r
      "env": {"GITHUB_PERSONAL_ACCESS_TOKEN": "@TOKEN@"},\r
    },\r
  },\r
}\r
"""
_CODEX = """# mine
model = "o3"

[mcp_servers.time]
command = "uvx" # quick
args = ["mcp-server-time==2026.10.19"]
startup_timeout_sec = 20

[mcp_servers.github]
command = "npx"
args = [
  "-y", # unasked
  "@modelcontextprotocol/server-github@2025.4.8",
]

[mcp_servers.github.env]
# from the settings page
GITHUB_PERSONAL_ACCESS_TOKEN = "@TOKEN@"

[profiles.fast]
model = "o4-mini"
"""
_ZED = """// Zed settings
{
  "vim_mode": true,
  "context_servers": {
    "time": {"source": "custom", "command": "uvx", "args": ["mcp-server-time==2026.10.19"], "env": {}},
    /* as older versions wrote it */
    "github": {
      "command": {
        "path": "npx",
        "args": ["-y", "@modelcontextprotocol/server-github@2025.4.8"],
        "env": {"GITHUB_PERSONAL_ACCESS_TOKEN": "@TOKEN@"},
      },
      "settings": {},
    },
  },
}
"""
_GOOSE = """# goose
GOOSE_MODEL: o3
extensions:
  developer: {type: builtin, name: developer, enabled: true}
  time:
    type: stdio
    cmd: uvx   # quick
    args:
    - mcp-server-time==2026.10.19
    enabled: true
  github:
    type: stdio
    cmd: npx
    args:
      - -y
      # the official one
      - "@modelcontextprotocol/server-github@2025.4.8"
    envs:
      GITHUB_PERSONAL_ACCESS_TOKEN: @TOKEN@
    env_keys: []
    timeout: 300

# end
"""
_CLINE = ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"

# host -> the file below the home, its text
CONFIGS = {
    "claude-desktop": (".config/Claude/claude_desktop_config.json", _PLAIN),
    "claude-code": (".claude.json", _CLAUDE_CODE),
    "cursor": (".cursor/mcp.json", _PLAIN.replace("  ", "\t")),
    "vscode": (".config/Code/User/mcp.json", _VSCODE),
    "codex": (".codex/config.toml", _CODEX),
    "gemini": (".gemini/settings.json", _PLAIN),
    "windsurf": (".codeium/windsurf/mcp_config.json", _PLAIN.replace("\n", "")),
    "zed": (".config/zed/settings.json", _ZED),
    "goose": (".config/goose/config.yaml", _GOOSE),
    "lmstudio": (".lmstudio/mcp.json", _PLAIN.replace("\n", "\r\n")),
    "cline": (_CLINE, _PLAIN),
}


def write(home: Path, host: str, *, token: str = TOKEN) -> Path:
    """The configuration of one host, with a secret."""
    relative, text = CONFIGS[host]
    path = home / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.replace(_MARK, token).encode())
    return path

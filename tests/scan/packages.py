"""Published servers that start without an account: names, versions and what they need to start, and nothing of theirs.

The variables are placeholders: a server that wants a key at its start lists its tools with any.
"""

from __future__ import annotations

from typing import NamedTuple

_KEY = "placeholder"


class Published(NamedTuple):
    """package: "npm:NAME@VERSION" or "pypi:NAME@VERSION"; command and args as in a profile's [server]."""

    package: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()


def _keys(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, _KEY) for name in names)


SERVERS = (
    Published("npm:@modelcontextprotocol/server-everything@2026.8.31"),
    Published("npm:@modelcontextprotocol/server-filesystem@2026.8.31", ("/work",)),
    Published("npm:@modelcontextprotocol/server-memory@2026.8.31"),
    Published("npm:@modelcontextprotocol/server-sequential-thinking@2026.8.31"),
    Published("npm:@modelcontextprotocol/server-github@2025.4.8"),
    Published("npm:@modelcontextprotocol/server-gitlab@2025.4.25", (), _keys("GITLAB_PERSONAL_ACCESS_TOKEN")),
    Published("npm:@modelcontextprotocol/server-slack@2025.4.25", (), _keys("SLACK_BOT_TOKEN", "SLACK_TEAM_ID")),
    Published("npm:@modelcontextprotocol/server-brave-search@0.6.2", (), _keys("BRAVE_API_KEY")),
    Published("npm:@modelcontextprotocol/server-google-maps@0.6.2", (), _keys("GOOGLE_MAPS_API_KEY")),
    Published("npm:@upstash/context7-mcp@4.1.1"),
    Published("npm:@playwright/mcp@0.0.83"),
    Published("npm:chrome-devtools-mcp@1.11.0"),
    Published("npm:@notionhq/notion-mcp-server@2.5.2"),
    Published("npm:tavily-mcp@0.2.22", (), _keys("TAVILY_API_KEY")),
    Published("npm:exa-mcp-server@3.4.1", (), _keys("EXA_API_KEY")),
    Published("npm:firecrawl-mcp@3.26.0", (), _keys("FIRECRAWL_API_KEY")),
    Published("npm:@supabase/mcp-server-supabase@0.13.0", (), _keys("SUPABASE_ACCESS_TOKEN")),
    Published("npm:figma-developer-mcp@0.13.2", ("--stdio",), _keys("FIGMA_API_KEY")),
    Published("npm:@wonderwhy-er/desktop-commander@0.2.52"),
    Published("npm:mcp-server-kubernetes@4.1.7"),
    Published("npm:@browsermcp/mcp@0.1.3"),
    Published("npm:mongodb-mcp-server@3.0.4"),
    Published("npm:@kazuph/mcp-taskmanager@1.1.1"),
    Published("npm:task-master-ai@0.43.1"),
    Published("npm:xcodebuildmcp@2.7.0", ("mcp",)),
    Published("npm:mcp-server-code-runner@0.1.8"),
    Published("npm:@cyanheads/git-mcp-server@2.15.3"),
    Published("npm:@mui/mcp@0.1.6"),
    Published("npm:mcp-fetch-server@1.1.2"),
    Published("npm:@perplexity-ai/mcp-server@1.2.1", (), _keys("PERPLEXITY_API_KEY")),
    Published("npm:@antv/mcp-server-chart@0.9.10"),
    Published("npm:@bytebase/dbhub@1.4.0", ("--demo",)),
    Published("npm:airtable-mcp-server@1.14.0", (), _keys("AIRTABLE_API_KEY")),
    Published("npm:@eslint/mcp@0.3.13"),
    Published("npm:@salesforce/mcp@0.30.15", ("--orgs", "DEFAULT_TARGET_ORG", "--toolsets", "all")),
    Published("npm:@currents/mcp@2.1.1", (), _keys("CURRENTS_API_KEY")),
    Published("pypi:mcp-server-time@2026.10.19"),
    Published("pypi:mcp-server-fetch@2026.10.24"),
    Published("pypi:mcp-server-git@2026.10.19"),
    Published("pypi:mcp-server-calculator@0.2.1"),
    Published("pypi:wikipedia-mcp@2.0.1"),
    Published("pypi:duckduckgo-mcp-server@0.7.0"),
    Published("pypi:awslabs.aws-documentation-mcp-server@1.2.3"),
    Published("pypi:mcp-shell-server@1.1.14", (), (("ALLOW_COMMANDS", "ls"),)),
    Published("pypi:mcp-nixos@3.1.0"),
)

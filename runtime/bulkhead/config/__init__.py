"""From files and flags to a ServerSpec: profiles.py finds and judges profiles, settings.py has what is the user's own.

Importing this imports no pydantic: a profile that was judged before is taken from kept.py, and a runner starts without.
"""

from bulkhead.config.flags import Flags
from bulkhead.config.keys import command_key, profile_key
from bulkhead.config.profiles import (
    Found,
    check_profile,
    find_profile,
    list_profiles,
    load_profile,
    profile_digest,
    spec_from_command,
    unmounted_paths,
)
from bulkhead.config.settings import config_dir, load_settings, state_dir, state_path

__all__ = [
    "Flags",
    "Found",
    "check_profile",
    "command_key",
    "config_dir",
    "find_profile",
    "list_profiles",
    "load_profile",
    "load_settings",
    "profile_digest",
    "profile_key",
    "spec_from_command",
    "state_dir",
    "state_path",
    "unmounted_paths",
]

"""What the host passes on to a build: its certificates, mirrors and proxies, as its own clients are configured.

Nothing of it may stay in an image: files go into the job's folder, which is a mount, and the rest is environment of
the build container. No registry stands here: a client without configuration knows its own. What a client is told is
passed to containers in which that client runs and no other: a mirror's URL may hold a password.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

JOB = "/mnt"  # where a build container sees the job's folder: every image has an empty /mnt, so no trace stays
CA_FILE = f"{JOB}/ca.crt"
_CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_CA_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS", "npm_config_cafile", "GIT_SSL_CAINFO")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_LOCALHOST = re.compile(r"""(?:^|(?<=//)|(?<=@))localhost(?=[:/\s"]|$)""")
_PIP_SETTING = re.compile(r"(?:global|download|install|:env:)\.(index-url|extra-index-url|trusted-host|proxy)='(.*)'")


@dataclass(frozen=True, slots=True)
class Passed:
    """files of the job's folder by name, environment of the build container, and the URLs of proxies named in these."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    proxies: tuple[str, ...] = ()

    def __or__(self, other: Passed) -> Passed:
        return Passed({**self.files, **other.files}, {**self.env, **other.env}, (*self.proxies, *other.proxies))


def network() -> Passed:
    """The host's certificates and proxies, for every client."""
    found = {name: value for name in _PROXIES if (value := os.environ.get(name) or os.environ.get(name.upper()))}
    found |= {name: seen_inside(value) for name, value in found.items() if name != "no_proxy"}
    env = found | {name.upper(): value for name, value in found.items()}
    proxies = tuple(value for name, value in found.items() if name != "no_proxy")
    if bundle := ca_bundle():
        return Passed({"ca.crt": bundle.read_bytes()}, env | dict.fromkeys(_CA_VARIABLES, CA_FILE), proxies)
    return Passed({}, env, proxies)


def ca_bundle() -> Path | None:
    """The file of certificates that the host's own clients trust."""
    candidates = (os.environ.get("SSL_CERT_FILE"), *_CA_BUNDLES, ssl.get_default_verify_paths().cafile)
    return next((Path(path) for path in candidates if path and Path(path).is_file()), None)


def pip() -> Passed:
    """The indexes of the host's pip; folders of the host are left out, for a container does not have them."""
    found = (_PIP_SETTING.fullmatch(line) for line in lines_of(sys.executable, "-m", "pip", "config", "list"))
    settings = {
        match[1]: seen_inside(match[2]) for match in found if match
    }  # the environment's lines come first, and lose
    urls = {key: _http(value) for key, value in settings.items() if key.endswith("index-url")}
    env = {_variable(key): value for key, value in (settings | urls).items() if value}
    proxies = tuple(value for key, value in settings.items() if key == "proxy" and value)
    return Passed({}, {"PIP_DISABLE_PIP_VERSION_CHECK": "1", **env}, proxies)


def npm() -> Passed:
    """The registry of the host's npm, where there is an npm."""
    registry = seen_inside(_http(" ".join(lines_of("npm", "config", "get", "registry"))))
    env = {"npm_config_update_notifier": "false", "npm_config_fund": "false", "npm_config_audit": "false"}
    return Passed({}, env | ({"npm_config_registry": registry} if registry else {}))


def lines_of(*command: str) -> Sequence[str]:
    """What a client of the host prints; nothing where it is not there or fails: then it has no configuration."""
    path = shutil.which(command[0])
    if path is None:
        return ()
    done = subprocess.run([path, *command[1:]], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    return done.stdout.splitlines() if done.returncode == 0 else ()


def seen_inside(urls: str) -> str:
    """What on this machine is called localhost, as an address of IPv4: a gate takes a connection to ::1 whether or not
    anybody listens there outside, and a client that has connected does not try 127.0.0.1 any more.
    """
    return _LOCALHOST.sub("127.0.0.1", urls)


def _http(urls: str) -> str:
    return " ".join(url for url in urls.split() if url.startswith(("https://", "http://")))


def _variable(key: str) -> str:
    return f"PIP_{key.replace('-', '_').upper()}"

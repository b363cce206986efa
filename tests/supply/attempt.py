"""Code of a stranger's package: tries to reach each of targets.json, and writes what came of it into outcome.json."""

import json
import socket
from pathlib import Path

SECONDS = 10


def answered(host: str, port: int) -> str:
    try:
        with socket.create_connection((host, port), SECONDS) as conn:
            conn.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return "answered" if conn.recv(1) else "ended"
    except socket.gaierror:
        return "no name"
    except OSError as error:
        return type(error).__name__


def send(host: str, port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(b"a datagram", (host, port))
        except OSError as error:
            return type(error).__name__
    return "sent"


def status(key: str) -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{key}:"))


home = Path(__file__).parent
tcp, udp = json.loads((home / "targets.json").read_text())
outcome = {
    "tcp": {f"{host}:{port}": answered(host, port) for host, port in tcp},
    "udp": {f"{host}:{port}": send(host, port) for host, port in udp},
    "uid": status("Uid"),
    "capabilities": int(status("CapBnd"), 16) | int(status("CapEff"), 16),
    "no_new_privs": status("NoNewPrivs"),
    "interfaces": [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]],
}
Path("/opt/server/outcome.json").write_text(json.dumps(outcome))

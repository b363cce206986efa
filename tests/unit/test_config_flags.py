"""--mount, --allow and --secret: one schema with the profile, and an error names the flag."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead.config import Flags, load_profile
from bulkhead.errors import BulkheadError, ProfileError, UsageError
from bulkhead.spec import EgressRule
from tests.unit.config_cases import write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("home")


class TestFlags:
    """One schema: a flag is a table more, and an error names the flag."""

    def test_added_to_the_profile(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        data.mkdir()
        flags = Flags([f"{data}:/data:rw"], ["api.example.org:443"], ["KEY=env:KEY"])
        spec = load_profile(write(tmp_path, '[[egress]]\nhost = "a.example"\nports = [1]\n'), flags=flags)
        assert [(m.source, m.target, m.write) for m in spec.mounts] == [(str(data), "/data", True)]
        assert [(rule.host, rule.ports) for rule in spec.egress] == [("a.example", (1,)), ("api.example.org", (443,))]
        assert [(secret.name, secret.source) for secret in spec.secrets] == [("KEY", "env:KEY")]

    def test_relative_to_where_it_is_typed(self, project: Path, tmp_path: Path) -> None:
        (project / "data").mkdir()
        spec = load_profile(write(tmp_path, ""), flags=Flags(["data:/data"]))
        assert (spec.mounts[0].source, spec.mounts[0].write) == (str(project / "data"), False)

    @pytest.mark.parametrize(
        ("text", "rule"),
        [
            ("a.test:443", EgressRule("a.test", (443,))),
            ("*.a.test:443,80", EgressRule("*.a.test", (443, 80))),
            ("localhost:5432:private", EgressRule("localhost", (5432,), private=True)),
            ("10.0.0.0/8:22,443:private", EgressRule("10.0.0.0/8", (22, 443), private=True)),
            ("[fd00::5]:443:private", EgressRule("fd00::5", (443,), private=True)),
            ("[fd00::/8]:443:private", EgressRule("fd00::/8", (443,), private=True)),
        ],
    )
    def test_what_an_allow_means(self, text: str, rule: EgressRule, tmp_path: Path) -> None:
        assert load_profile(write(tmp_path, ""), flags=Flags((), [text])).egress == (rule,)

    @pytest.mark.parametrize(
        ("flags", "what"),
        [
            (Flags(["/x"]), "--mount '/x' is not understood"),
            (Flags(["/x:/y:rw:/z"]), "--mount '/x:/y:rw:/z' is not understood"),
            (Flags(["/x:/y:z"]), "--mount '/x:/y:z' is not understood"),
            (Flags([":/y"]), "--mount ':/y' is not understood"),
            (Flags(["/x::rw"]), "--mount '/x::rw' is not understood"),
            (Flags((), ["host"]), "--allow 'host' is not understood"),
            (Flags((), ["host:http"]), "--allow 'host:http' is not understood"),
            (Flags((), ["host:\u0664"]), "is not understood"),
            (Flags((), ["host:443,"]), "--allow 'host:443,' is not understood"),
            (Flags((), ["host:443-445"]), "--allow 'host:443-445' is not understood"),
            (Flags((), ["host:443:public"]), "--allow 'host:443:public' is not understood"),
            (Flags((), [":443"]), "--allow ':443' is not understood"),
            (Flags((), ["https://host:443"]), "--allow 'https://host:443' is not understood"),
            (Flags((), ["fd00::5:443"]), "--allow 'fd00::5:443' is not understood"),
            (Flags((), ["[host]:443"]), "--allow '[host]:443' is not understood"),
            (Flags((), (), ["TOKEN"]), "a --secret is not understood"),
            (Flags((), (), ["=env:X"]), "a --secret is not understood"),
        ],
    )
    def test_not_understood(self, flags: Flags, what: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError) as caught:
            load_profile(write(tmp_path, ""), flags=flags)
        assert what in caught.value.what

    @pytest.mark.parametrize(
        ("flags", "what"),
        [
            (Flags(["/etc:/x"]), "--mount /etc:/x: mounts[0].source is refused"),
            (Flags(["/opt:/usr"]), "--mount /opt:/usr: mounts[0].target is not valid"),
            (Flags((), ["*:443"]), "--allow *:443: egress[1].host is not valid"),
            (Flags((), ["[fd00::5]:443"]), "--allow [fd00::5]:443: egress[1].host is not valid"),
            (Flags((), ["b.example:53"]), "--allow b.example:53: egress[1].ports is not valid"),
            (Flags((), ["b.example:0"]), "--allow b.example:0: egress[1].ports[0] is not valid"),
            (Flags((), ["a.example:443"]), "--allow a.example:443: egress[1].host is not valid"),
            (Flags((), (), ["T=hunter2"]), "--secret T=...: secrets[0].from is not valid"),
        ],
    )
    def test_judged_as_the_file_is(self, flags: Flags, what: str, tmp_path: Path) -> None:
        path = write(tmp_path, '[[egress]]\nhost = "a.example"\nports = [1]\n')
        with pytest.raises(ProfileError) as caught:
            load_profile(path, flags=flags)
        assert caught.value.what == what

    @given(text=st.text(alphabet=st.sampled_from("/.:~$-{}rwaé \0\n\u202e"), max_size=20))
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    def test_no_mount_flag_is_more_than_it_says(self, text: str, tmp_path: Path) -> None:
        path = write(tmp_path, "")
        try:
            spec = load_profile(path, flags=Flags([text]))
        except BulkheadError as error:
            assert error.exit_code == 2  # noqa: PT017  # either outcome is right; what is not is any other exception
            return
        for mounted in spec.mounts:
            assert mounted.source == os.path.realpath(mounted.source)
            assert mounted.target.startswith("/")
            assert ":" not in mounted.source + mounted.target
            assert mounted.write == text.endswith(":rw")

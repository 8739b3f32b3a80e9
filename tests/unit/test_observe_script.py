"""What a box's normal world says of itself is read strictly; the rest is taken for absent."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadInput
from provisioning.enclave_image import parse
from provisioning.observe import bad_ta
from provisioning.observe_script import SCRIPT, read_lines
from provisioning.observed import DeviceNode, Observed

pytestmark = pytest.mark.integrity
UUID_1 = "fd02c9da-306c-48c7-a49c-bbd827ae86ee"
SAID = f"""ta-directory
head 4f 54 53 48 01 00 00 00 00 00 00 00 30 49 41 70 20 00 80 01
{"5a" * 32}  {UUID_1}.ta
/sys/module/module/parameters/sig_enforce:Y
/proc/sys/kernel/tainted:8192
/sys/kernel/security/lockdown:none [integrity] confidentiality
/sys/kernel/security/ima/runtime_measurements_count:312
/proc/mounts:proc /proc proc rw 0 0
/proc/mounts:/dev/mapper/root / ext4 ro 0 0
/sys/block/dm-0/dm/uuid:CRYPT-VERITY-0123456789abcdef-root
/sys/block/dm-0/dm/name:root
/proc/net/tcp:  sl  local_address rem_address   st
/proc/net/tcp:   0: 0100007F:0016 00000000:0000 0A 00000000:00000000
/proc/net/tcp:   1: 0F02000A:0016 0202000A:EDDE 01 00000000:00000000
/proc/net/tcp6:   0: 00000000000000000000000001000000:1F90 0:0000 0A 0:0
/proc/net/udp:   0: 00000000:0044 00000000:0000 07 00000000:00000000
node /dev/tee0 660 0 101 tee
node /dev/tee0 660 0 101 tee
shadow
password root default
password admin whatever
end
"""


def test_everything_that_a_box_tells_is_read() -> None:
    fields, signature = read_lines(SAID)

    assert signature == 384
    assert Observed(**fields) == Observed(
        ta_files={f"{UUID_1}.ta": "5a" * 32},
        module_signatures="Y",
        tainted=8192,
        lockdown="integrity",
        ima=312,
        verity=True,
        odd_files=(),
        more_ports=0,
        ports=("tcp/127.0.0.1/22", "tcp6/::1/8080", "udp/0.0.0.0/68"),
        tee_devices=(DeviceNode("/dev/tee0", 0o660, 0, 101, "tee"),),
        passwords={"root": "default", "admin": "unknown"},
    )


def test_a_box_that_tells_nothing_has_told_nothing() -> None:
    fields, signature = read_lines("")

    assert Observed(**fields) == Observed()
    assert signature is None


def test_a_root_on_something_else_than_dm_verity_is_no_dm_verity() -> None:
    fields, _ = read_lines(SAID.replace("CRYPT-VERITY-", "CRYPT-LUKS2-"))

    assert fields["verity"] is False


@pytest.mark.parametrize("cut", ["end\n", "password admin whatever\nend\n"])
def test_of_a_listing_that_was_cut_no_list_is_believed(cut: str) -> None:
    fields, _ = read_lines(SAID.removesuffix(cut))

    lists = ("ports", "more_ports", "ta_files", "odd_files", "passwords", "tee_devices")
    assert {fields[name] for name in lists} == {None}
    assert fields["lockdown"] == "integrity"


def test_what_fits_in_no_table_is_told_and_counted() -> None:
    ports = "".join(f"/proc/net/udp: 1: 00000000:{n:04X} 0:0 07 0\n" for n in range(1, 1501))
    odd = f"odd-file 0.ta\nta-count 1003 8\n{'00' * 32}  \x1b.ta\n"
    fields, _ = read_lines(SAID.replace("shadow\n", ports + odd + "shadow\n"))
    seen = Observed(**fields)

    assert len(seen.ports or ()) + (seen.more_ports or 0) > 1500
    assert seen.ta_files == {f"{UUID_1}.ta": "5a" * 32}
    assert (seen.odd_files or ("",))[0] == "0.ta"
    assert (seen.odd_files or ("",))[-1] == "1002 files beyond the 1 that were read"


def said_here(tmp_path: Path, *, shadow: str, passwd: str = "", path: str = "") -> Observed:
    """What the script that runs on boxes says of files of ours."""
    (tmp_path / "shadow").write_text(shadow)
    (tmp_path / "passwd").write_text(passwd)
    script = SCRIPT.replace("/etc/", f"{tmp_path}/")
    found = subprocess.run(
        ["/bin/sh", "-c", script, "sh", str(tmp_path), "/dev/null"],
        env={"PATH": path or os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    return Observed(**read_lines(found.stdout)[0])


def test_an_account_without_a_password_is_found_whoever_it_is(tmp_path: Path) -> None:
    shadow = "root:*:1::::::\ndaemon:!:1::::::\nOdd Name::1::::::\nguest:"
    passwd = "root:x:0:0::/:/bin/sh\ntoor::0:0::/:/bin/sh"

    seen = said_here(tmp_path, shadow=shadow, passwd=passwd)

    assert seen.passwords == {
        "root": "locked",
        "guest": "empty",
        "toor": "empty",
        "_odd._unprintable_": "empty",
    }


def test_a_password_is_compared_and_where_nothing_can_compare_it_is_unknown(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here")
    argv = [openssl, "passwd", "-6", "-salt", "saltsalt", "root"]
    known = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    for name in ("grep", "stat", "od", "sha256sum"):
        (bare := tmp_path / "bin").mkdir(exist_ok=True)
        (bare / name).symlink_to(shutil.which(name) or "")
    shadow = f"root:{known}:1\nadmin:{known}:1\n"

    assert said_here(tmp_path, shadow=shadow).passwords == {"root": "default", "admin": "other"}
    without = said_here(tmp_path, shadow=shadow, path=str(bare)).passwords
    assert without == {"root": "unknown", "admin": "unknown"}


def test_a_file_with_an_odd_name_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    for name in ("0.ta", "a b\n.ta", f"{UUID_1}.ta"):
        (tmp_path / name).write_bytes(bytes(20))

    seen = said_here(tmp_path, shadow="")

    assert list(seen.ta_files or ()) == [f"{UUID_1}.ta"]
    assert set(seen.odd_files or ()) == {"0.ta", "(unprintable)"}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_answer_of_a_box_crashes_the_reader(data: st.DataObject) -> None:
    text = bytearray(SAID.encode())
    for at in data.draw(st.lists(st.integers(0, len(text) - 1), max_size=8)):
        text[at] = data.draw(st.integers(0, 255))
    fields, _ = read_lines(text.decode("ascii", errors="replace"))
    try:
        Observed(**fields)
    except BadInput as problem:
        assert problem.where == "observed"


def test_the_ta_that_must_be_refused_is_wrong_in_its_signature_alone(tmp_path: Path) -> None:
    """Where signatures were not checked, it would get past every other check of its headers."""
    image = parse(bad_ta(UUID(UUID_1), 384))

    assert (image.uuid, image.version) == (UUID(UUID_1), 0)
    assert bad_ta(UUID(UUID_1), 384)[52:436] != bad_ta(UUID(UUID_1), 384)[52:436]

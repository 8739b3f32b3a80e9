"""What a box's normal world says of itself is read strictly; the rest is taken for absent."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadInput
from provisioning.enclave_image import parse
from provisioning.observe import bad_ta
from provisioning.observe_script import read_lines
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
node /dev/tee0 660 0 101
node /dev/tee0 660 0 101
shadow
password root default
password admin whatever
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
        ports=("tcp/127.0.0.1/22", "tcp6/::1/8080", "udp/0.0.0.0/68"),
        tee_devices=(DeviceNode("/dev/tee0", 0o660, 0, 101),),
        passwords={"root": "default", "admin": "unknown"},
    )


def test_a_box_that_tells_nothing_has_told_nothing() -> None:
    fields, signature = read_lines("")

    assert Observed(**fields) == Observed()
    assert signature is None


def test_a_root_on_something_else_than_dm_verity_is_no_dm_verity() -> None:
    fields, _ = read_lines(SAID.replace("CRYPT-VERITY-", "CRYPT-LUKS2-"))

    assert fields["verity"] is False


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

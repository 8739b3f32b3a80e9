"""A write that the power ends: old or new content; what is left beside it goes with the next."""

from __future__ import annotations

import posixpath
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import BoxDied, LinkLost
from harness.part_file import clear_parts, part_beside
from harness.secret import Secret
from harness.target import Shell
from provisioning.iotedge import CONFIG_PATH, EdgeConfig, FileCertificate, IotEdge
from provisioning.iotedge_uri import Pkcs11Uri
from provisioning.sample_enclave import SAMPLE
from provisioning.trustbox import TrustBox
from tests.device.sample import build_sample

PLACE = "/root/trustbox-parts"
KEY = Pkcs11Uri(token="here", object="device", pin=Secret(b"of-no-token"))
CONFIG = EdgeConfig(
    id_scope="0ne00000000",
    registration_id="tb-parts",
    certificate=FileCertificate(path="/var/lib/trustbox/device.pem", key=KEY),
    module="/usr/lib/libckteec.so.0",
    base_slot=KEY,
)
NOT_A_PART = ".tb-notes.tmp"


def left_in(shell: Shell, directory: str, by: Deadline) -> str:
    """What a cut write leaves there, and a file that is somebody's own. The path of the first."""
    shell.run("mkdir", "-p", "--", directory, by=by)
    part = part_beside(posixpath.join(directory, "anything"))
    shell.write(part, b"a PIN, perhaps", by=by, mode=0o600)
    shell.write(posixpath.join(directory, NOT_A_PART), b"mine", by=by)
    return part


def names(shell: Shell, directory: str, by: Deadline) -> set[str]:
    return set(shell.run("ls", "-A", "--", directory, by=by).text.split())


def assert_only_the_part_is_gone(shell: Shell, part: str, by: Deadline) -> None:
    there = names(shell, posixpath.dirname(part), by)
    assert posixpath.basename(part) not in there
    assert NOT_A_PART in there
    shell.run("rm", "--", posixpath.join(posixpath.dirname(part), NOT_A_PART), by=by)


@pytest.mark.fault(
    "Files",
    "the power ends in the write of a file on the box (configuration, certificate, enclave)",
    comes="LinkLost, status 4; the old file, and at most a part with mode 0600",
    then="run again: the next write there takes the part away",
)
def test_iot_edges_configuration_takes_a_cut_writes_part_away(box: TrustBox, by: Deadline) -> None:
    shell = box.target.shell
    part = left_in(shell, posixpath.dirname(CONFIG_PATH), by)

    IotEdge(shell).apply(CONFIG, by=by)

    assert_only_the_part_is_gone(shell, part, by)
    shell.run("rm", "--", CONFIG_PATH, by=by)


@pytest.mark.fault(
    "Files",
    "the power ends in the write of a file on the box (configuration, certificate, enclave)",
    comes="LinkLost, status 4; the old file, and at most a part with mode 0600",
    then="run again: the next write there takes the part away",
)
@pytest.mark.needs(Capability.TA_LOAD, Capability.TA_DEVKIT)
def test_an_enclaves_installation_takes_a_cut_writes_part_away(box: TrustBox, by: Deadline) -> None:
    shell = box.target.shell
    part = left_in(shell, box.target.layout.ta_directory, by)

    box.enclave.install(SAMPLE, build_sample(box.target), by=by)

    assert_only_the_part_is_gone(shell, part, by)


def test_a_directory_that_is_not_there_is_made_only_when_asked_for(
    box: TrustBox, by: Deadline
) -> None:
    shell = box.target.shell
    clear_parts(shell, f"{PLACE}/none", by=by)
    before = shell.run("test", "-e", PLACE, by=by, check=False).status
    clear_parts(shell, f"{PLACE}/made", make=True, by=by)

    assert before == 1
    assert names(shell, PLACE, by) == {"made"}
    shell.run("rm", "-r", "--", PLACE, by=by)


@pytest.mark.fault(
    "Files",
    "the power ends in the write of a file on the box (configuration, certificate, enclave)",
    comes="LinkLost, status 4; the old file, and at most a part with mode 0600",
    then="run again: the next write there takes the part away",
)
@pytest.mark.slow  # a boot
@pytest.mark.needs(Capability.POWER, Capability.RESTORE)
def test_a_write_that_the_power_ends_leaves_the_old_file_and_at_most_a_part(box: TrustBox) -> None:
    shell, by = box.target.shell, Deadline.after(120)
    shell.run("mkdir", "--", PLACE, by=by)
    shell.write(f"{PLACE}/file", b"old", by=by)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(shell.write, f"{PLACE}/file", bytes(48 << 20), by=by)
        while names(shell, PLACE, by) == {"file"}:
            assert not writing.done()
            by.left("a part of the file to appear")
        box.target.rig.off()
        with pytest.raises((BoxDied, LinkLost)):  # who cut the power may be faster than the link
            writing.result()
    box.target.rig.on(by=by)
    after = names(shell, PLACE, by)
    clear_parts(shell, PLACE, by=by)

    assert shell.read(f"{PLACE}/file", by=by) == b"old"
    assert len(after) <= 2
    assert all(re.fullmatch(r"file|\.tb-[0-9a-f]{16}\.tmp", name) for name in after)
    assert names(shell, PLACE, by) == {"file"}

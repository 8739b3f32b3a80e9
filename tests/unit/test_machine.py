"""From a machine's description to QEMU's arguments."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

from emulator.machine import Channels, Machine, RamFile, argv, shape

_MACHINE = Machine(
    name="TB-1",
    flash=Path("/f"),
    kernel=Path("/k"),
    initrd=Path("/i"),
    cmdline="console=ttyAMA0 quiet",
    disk=Path("/d"),
)
_CHANNELS = Channels(qmp_fd=7, factory_fd=9, normal_log=Path("/n"), secure_log=Path("/s"))


def _values(option: str, machine: Machine = _MACHINE) -> list[str]:
    arguments = argv(machine, _CHANNELS)
    return [value for key, value in itertools.pairwise(arguments) if key == option]


def test_the_machine_starts_paused_with_a_secure_world_and_nothing_by_default() -> None:
    arguments = argv(_MACHINE, _CHANNELS)

    assert {"-S", "-nodefaults", "-no-user-config"} <= set(arguments)
    assert "secure=on" in _values("-machine")[0].split(",")


def test_ssh_comes_in_from_this_host_only_on_a_port_that_the_kernel_chooses() -> None:
    (network,) = _values("-netdev")

    assert "hostfwd=tcp:127.0.0.1:0-:22" in network.split(",")


def test_the_guest_reaches_servers_on_the_hosts_loopback() -> None:
    (network,) = _values("-netdev")

    assert "restrict=on" not in network


def test_qemu_may_not_start_programs() -> None:
    assert "spawn=deny" in _values("-sandbox")[0].split(",")


def test_the_environments_flash_is_attached_on_cold_boots_only() -> None:
    cold = replace(_MACHINE, environment=Path("/e"))

    assert "pflash1=environment" in _values("-machine", cold)[0]
    assert "pflash1" not in _values("-machine")[0]


def test_a_clone_waits_for_its_state_and_cannot_write_to_its_templates_ram() -> None:
    clone = replace(_MACHINE, ram=RamFile(Path("/r"), share=False), incoming=True)

    assert _values("-incoming", clone) == ["defer"]
    assert "share=off" in _values("-object", clone)[0].split(",")


def test_only_a_lasting_disk_is_flushed_to_the_hosts_disk() -> None:
    lasting = json.loads(_values("-blockdev", replace(_MACHINE, durable=True))[0])
    throwaway = json.loads(_values("-blockdev")[0])

    assert lasting["cache"] == {"no-flush": False}
    assert throwaway["cache"] == {"no-flush": True}


def test_commas_and_spaces_in_paths_stay_parts_of_the_path() -> None:
    ram = RamFile(Path("/a b,share=on"), share=False)

    (option,) = _values("-object", replace(_MACHINE, ram=ram))

    assert "mem-path=/a b,,share=on,share=off" in option


def test_the_shape_of_the_machine_changes_with_what_a_saved_state_depends_on() -> None:
    assert shape() == shape()
    assert len({shape(), shape(memory_mib=2048), shape(cpus=2)}) == 3

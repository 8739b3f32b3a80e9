"""What a box says of itself at first contact is taken in a sensible form only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.adopt_look import Identity, addresses_in
from harness.errors import DeviceRefused

FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
Local:
              |-- 10.0.2.0
                 /24 link UNICAST
              |-- 10.0.2.15
                 /32 host LOCAL
           |-- 10.0.2.255
              /32 link BROADCAST
           |-- 127.0.0.1
              /32 host LOCAL
              |-- 169.254.7.7
                 /32 host LOCAL
"""
ROUTES = """\
Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth0\t00000000\t0107A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0007A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fe800000000000005054000000123456 02 40 20 80     eth0
20010db8000000000000000000000007 02 40 00 80     eth0
"""


def test_addresses_are_those_that_others_can_reach() -> None:
    assert addresses_in(FIB_TRIE, IF_INET6) == ("10.0.2.15", "2001:db8::7")


def test_the_address_towards_the_gateway_comes_before_a_container_bridge_s() -> None:
    trie = "|-- 172.17.0.1\n /32 host LOCAL\n|-- 192.168.7.42\n /32 host LOCAL\n"

    assert addresses_in(trie, "", ROUTES) == ("192.168.7.42", "172.17.0.1")
    assert addresses_in(trie, "", "") == ("172.17.0.1", "192.168.7.42")


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=400))
def test_no_table_crashes(four: str, six: str, routes: str) -> None:
    assert len(addresses_in(four, six, routes)) <= 16


def test_more_addresses_than_a_box_has_are_cut() -> None:
    many = "".join(f"|-- 10.0.{n}.1\n   /32 host LOCAL\n" for n in range(200))

    assert len(addresses_in(many, "")) == 16


def test_a_box_without_a_host_key_says_so_when_one_is_needed() -> None:
    nobody = Identity(None, None, None, None, None, None, (), ())

    with pytest.raises(DeviceRefused, match="has no SSH host key"):
        _ = nobody.host_key

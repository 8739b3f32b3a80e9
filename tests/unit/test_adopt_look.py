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
IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fe800000000000005054000000123456 02 40 20 80     eth0
20010db8000000000000000000000007 02 40 00 80     eth0
"""


def test_addresses_are_those_that_others_can_reach() -> None:
    assert addresses_in(FIB_TRIE, IF_INET6) == ("10.0.2.15", "2001:db8::7")


@given(st.text(max_size=400), st.text(max_size=400))
def test_no_table_crashes(four: str, six: str) -> None:
    assert len(addresses_in(four, six)) <= 16


def test_more_addresses_than_a_box_has_are_cut() -> None:
    many = "".join(f"|-- 10.0.{n}.1\n   /32 host LOCAL\n" for n in range(200))

    assert len(addresses_in(many, "")) == 16


def test_a_box_without_a_host_key_says_so_when_one_is_needed() -> None:
    nobody = Identity(None, None, None, None, None, None, (), ())

    with pytest.raises(DeviceRefused, match="has no SSH host key"):
        _ = nobody.host_key

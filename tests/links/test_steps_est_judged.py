"""What a run does with an answer in another wrapping, and with a plan's root that cannot serve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from harness.errors import BadInput
from provisioning.certificates import pem
from provisioning.run import Outcome
from provisioning.station import Station
from tests.links.est_issuing import Issuing, outcome, plan_for, posted
from tests.links.est_pki import Pki
from tests.links.est_script import Line, ScriptedServer, answer
from tests.links.host_box import HostBox, host_box
from tests.links.sshd import LocalSshd

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared_box(sshd: LocalSshd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostBox]:
    with host_box(sshd, tmp_path_factory.mktemp("box")) as made:
        yield made


@pytest.fixture
def box(shared_box: HostBox) -> HostBox:
    shared_box.clean()
    return shared_box


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki.make(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


def test_a_certificate_in_another_wrapping_certifies_the_box_with_one_post(
    box: HostBox, pki: Pki, station: Station
) -> None:
    def as_pem(pki: Pki, leaf: x509.Certificate) -> Line:
        return answer(pem(leaf), kind="application/x-pem-file")

    with ScriptedServer(pki, Issuing(pki, as_pem)) as server:
        done = box.run(plan_for(box, server, pki), station)

    assert outcome(done, "certificate") is Outcome.DONE
    assert len(posted(server)) == 1


@pytest.mark.fault(
    "EST",
    "the CA certificate that the plan names has no keyUsage, or basicConstraints not critical",
    comes="BadInput (2) that names the file and the CA; nothing was posted",
    then="have a new CA certificate made as RFC 5280 4.2.1 asks for",
)
def test_a_root_that_no_path_can_lead_to_is_refused_before_anything_is_asked_for(
    box: HostBox, pki: Pki, station: Station, tmp_path: Path
) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(pem(pki.bare(pki.key.public_key(), "own root")))
    with ScriptedServer(pki, Issuing(pki, None)) as server:
        plan = plan_for(box, server, pki)
        assert plan.est is not None
        with pytest.raises(BadInput, match="CN=own root") as caught:
            box.run(replace(plan, est=replace(plan.est, ca=root)), station)

    assert caught.value.where == str(root)
    assert posted(server) == []

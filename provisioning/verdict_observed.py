"""The checks of what was seen of a box besides its TEE's measurements. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from harness.tee_codes import TeeCode, TeeOrigin, name_of
from provisioning.observed import DeviceNode, Observed, TeeAnswer
from provisioning.outcome import Looked, Outcome
from provisioning.policy import Check, Policy

PASS, FAIL, ABSENT, UNKNOWN = Outcome.PASS, Outcome.FAIL, Outcome.ABSENT, Outcome.UNKNOWN
OF_OBSERVED = (
    Check.STORAGE,
    Check.STORAGE_KEPT,
    Check.STORAGE_FRESH,
    Check.TA_FILES,
    Check.LOAD_ENFORCEMENT,
    Check.BOOT_STATE,
    Check.MODULE_SIGNING,
    Check.LOCKDOWN,
    Check.IMA,
    Check.DM_VERITY,
    Check.LISTENING_PORTS,
    Check.DEFAULT_PASSWORDS,
    Check.TEE_DEVICE,
    Check.SECURE_LOG,
)
_UNSIGNED_MODULE = 1 << 13
"""TAINT_UNSIGNED_MODULE (Linux Documentation/admin-guide/tainted-kernels.rst)."""
_MOST_NAMED = 3
_NOT_SEEN: Looked = (ABSENT, "it could not be seen")


def look_at(seen: Observed, policy: Policy) -> dict[Check, Looked]:
    """Every check in OF_OBSERVED."""
    return {
        Check.STORAGE: _storage(seen.storage),
        Check.STORAGE_KEPT: _kept(seen.tokens, policy.tokens),
        Check.STORAGE_FRESH: _fresh(seen.counter, policy.counter),
        Check.TA_FILES: _ta_files(seen, policy.ta_files),
        Check.LOAD_ENFORCEMENT: _enforced(seen.bad_ta, seen.storage),
        Check.BOOT_STATE: _boot(seen),
        Check.MODULE_SIGNING: _modules(seen),
        Check.LOCKDOWN: _lockdown(seen.lockdown),
        Check.IMA: _ima(seen.ima),
        Check.DM_VERITY: _verity(seen.verity),
        Check.LISTENING_PORTS: _ports(seen, policy.ports),
        Check.DEFAULT_PASSWORDS: _passwords(seen.passwords),
        Check.TEE_DEVICE: _devices(seen, policy.tee_groups),
        Check.SECURE_LOG: _log(seen),
    }


def _storage(answer: TeeAnswer | None) -> Looked:
    """Looking for a TA makes OP-TEE look into its storage first (core/tee/tadb.c)."""
    if answer is None:
        return _NOT_SEEN
    if answer.code == TeeCode.ITEM_NOT_FOUND:
        return PASS, "the TEE reads its storage without an error"
    return FAIL, f"the TEE could not read its storage: {said(answer)}"


def _kept(found: tuple[str, ...] | None, wanted: tuple[str, ...] | None) -> Looked:
    if found is None:
        return ABSENT, "the TEE's tokens could not be asked for"
    if not wanted:
        what = "no token was there" if wanted is not None else "nothing to compare with"
        return UNKNOWN, f"{len(found)} tokens are in the storage; {what}"
    gone = [f"token {name}" for name in wanted if name not in found]
    if gone:
        return FAIL, f"{_named(gone)} is gone: the storage was lost, or made anew"
    return PASS, f"what was in the storage is in it still: {_named(wanted)}"


def _fresh(counter: int | None, least: int | None) -> Looked:
    if counter is None:
        return ABSENT, "no sealed counter was read"
    if least is None:
        return UNKNOWN, f"the sealed counter stands at {counter}; nothing to compare it with"
    if counter < least:
        return FAIL, f"the sealed counter went back from {least} to {counter}: older storage"
    return PASS, f"the sealed counter stands at {counter}, not below {least}"


def _ta_files(seen: Observed, wanted: Mapping[str, str] | None) -> Looked:
    if (found := seen.ta_files) is None:
        return _NOT_SEEN
    if seen.odd_files:
        return FAIL, f"what is no TA's file lies there: {_named(seen.odd_files)}"
    if wanted is None:
        return UNKNOWN, f"{len(found)} files; no manifest to hold them against"
    wrong = [
        *(f"{name} is missing" for name in wanted if name not in found),
        *(f"{name} is another" for name in wanted if found.get(name, wanted[name]) != wanted[name]),
        *(f"{name} is not in the manifest" for name in found if name not in wanted),
    ]
    return (FAIL, _named(wrong)) if wrong else (PASS, f"{len(found)} files, as in the manifest")


def _enforced(answer: TeeAnswer | None, storage: TeeAnswer | None) -> Looked:
    if answer is None:
        return ABSENT, "no TA could be offered"
    if answer == TeeAnswer(TeeCode.SECURITY, TeeOrigin.TEE):
        # Spoilt storage makes OP-TEE answer the same to any TA, before it looks at a signature.
        if storage is None or storage.code != TeeCode.ITEM_NOT_FOUND:
            return ABSENT, f"a TA was refused, perhaps for the TEE's storage alone: {said(answer)}"
        return PASS, "a TA with a signature by nobody was refused: " + said(answer)
    return FAIL, f"a TA with a signature by nobody was answered {said(answer)}"


def _boot(seen: Observed) -> Looked:
    if seen.boot is None:
        return ABSENT, "nothing tells how the box booted"
    outcome = {True: PASS, False: FAIL, None: UNKNOWN}[seen.boot.verified]
    return outcome, f"{seen.boot.why} ({seen.boot.source})"


def _modules(seen: Observed) -> Looked:
    if seen.module_signatures is None:
        return ABSENT, "the kernel checks no modules"
    if seen.module_signatures == "Y":
        return PASS, "the kernel insists on signed modules"
    loaded = seen.tainted is not None and seen.tainted & _UNSIGNED_MODULE
    more = ", and runs an unsigned one" if loaded else ""
    return ABSENT, f"the kernel does not insist on signed modules{more}"


def _lockdown(mode: str | None) -> Looked:
    if mode is None:
        return ABSENT, "the kernel has none, or does not show it"
    if mode == "none":
        return ABSENT, "the kernel could, and is not locked down"
    return PASS, f"the kernel is locked down: {mode}"


def _ima(entries: int | None) -> Looked:
    if entries is None:
        return ABSENT, "the kernel has none, or does not show it"
    # One entry is the boot aggregate, which is there without any policy.
    if entries <= 1:
        return ABSENT, "the kernel could, and measures nothing"
    return PASS, f"{entries} measurements"


def _verity(on_verity: bool | None) -> Looked:
    if on_verity is None:
        return _NOT_SEEN
    if not on_verity:
        return ABSENT, "the root file system lies on something else"
    return PASS, "the root file system lies on dm-verity"


def _ports(seen: Observed, allowed: frozenset[str] | None) -> Looked:
    if (found := seen.ports) is None:
        return _NOT_SEEN
    if seen.more_ports:
        return FAIL, f"more listens than can be listed: {len(found)} and {seen.more_ports} more"
    if allowed is None:
        return UNKNOWN, f"{_named(found) or 'nothing'} listens; the policy does not say what may"
    more = [port for port in found if not {port, _anywhere(port)} & allowed]
    if more:
        return FAIL, f"{_named(more)} listens"
    return PASS, f"{_named(found) or 'nothing'} listens, as it may"


def _anywhere(port: str) -> str:
    protocol, _, number = port.split("/")
    return f"{protocol}/*/{number}"


def _passwords(found: Mapping[str, str] | None) -> Looked:
    if found is None:
        return _NOT_SEEN
    bad = [f"{user}: {word}" for user, word in found.items() if word in ("default", "empty")]
    if bad:
        return FAIL, f"anybody can log in as {_named(bad)}"
    if dim := [user for user, word in found.items() if word == "unknown"]:
        return UNKNOWN, f"the password of {_named(dim)} is kept in a form that cannot be compared"
    return PASS, "no account has a password that everybody knows"


def _devices(seen: Observed, allowed: frozenset[str]) -> Looked:
    if seen.tee_devices is None:
        return _NOT_SEEN
    # optee_client's udev rules give them to groups of their own; whoever is in those may open them.
    wide = [f"{one.path} ({one.mode:o})" for one in seen.tee_devices if one.mode & 0o007]
    if wide:
        return FAIL, f"everybody may open {_named(wide)}"
    owned = [f"{one.path} (user {one.uid})" for one in seen.tee_devices if one.uid]
    if owned:
        return FAIL, f"somebody else than root owns {_named(owned)}"
    shared = [one for one in seen.tee_devices if one.mode & 0o070 and one.gid]
    other = [f"{one.path} (group {_group(one)})" for one in shared if one.group not in allowed]
    if other:
        return FAIL, f"a group that is no TEE's may open {_named(other)}"
    groups = {_group(one) for one in shared}
    who = f"root and groups {_named(sorted(groups))}" if groups else "root alone"
    return PASS, f"{who} may open {len(seen.tee_devices)} devices"


def _group(node: DeviceNode) -> str:
    return node.group or str(node.gid)


def _log(seen: Observed) -> Looked:
    if seen.log is None:
        return ABSENT, "no console is recorded"
    if seen.log.bad:
        return FAIL, f"the console said: {seen.log.bad[0]}"
    return PASS, f"no panic and no abort in {seen.log.lines} lines since the mark"


def said(answer: TeeAnswer) -> str:
    name = name_of(answer.code)
    return f"0x{answer.code:08x}{f' ({name})' if name else ''} from origin {answer.origin}"


def _named(things: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(things) - _MOST_NAMED} more" if len(things) > _MOST_NAMED else ""
    return ", ".join(things[:_MOST_NAMED]) + more

"""What docs/faults.md is about: its sections, and the faults that must stand there.

A test shows a demanded fault by ``case="F-01"`` in its ``mark.fault``; one that no test shows is
on the page as "no test".
"""

SECTIONS: dict[str, str] = {
    "CA": "",
    "Services": "",
    "Run": "",
    "Record": "",
    "Token": "",
    "TEE storage": "",
    "Files": "",
    "EST": "Left in every row: the request (the next run posts the same octets) and nothing on"
    " the box. What was issued and then judged bad is kept in `issued/` and listed in the record"
    " under `certificate.superseded`. Of two good certificates for one key the next run takes the"
    " one that came last, and asks for none.",
    "DPS": "Left in every row: the box as it was; beside the record the operation's id where there"
    " is one to poll; nothing in the box's RAM disk.",
    "Station's disk": "",
    "Secrets": "",
    "Box": "",
}
"""In the page's order, each with what holds for all of its rows."""

STEPS = (
    *("reach", "own-identity", "earlier", "enclave", "attest", "token", "key", "key-proof", "keys"),
    *("certificate", "install", "register", "iotedge", "record"),
)
"""The steps of the longest run, in their order."""

TITLES: dict[str, str] = {
    "F-01": "the CA's index is lost",
    "F-02": "the CA's index is an older one",
    "F-03": "ca.json is lost",
    "F-04": "--state is mistyped",
    "F-05": "the issuing key is lost",
    "F-06": "a certificate of a revoked issuer as a login",
    "F-07": "two labels that differ in the case of their letters",
    "F-08": "the link to the HSM is lost",
    "F-11": "disk full: journal",
    "F-12": "disk full: record",
    "F-13": "disk full: PIN file",
    "F-14": "disk full: PIN budget",
    "F-15": "disk full: issued certificate",
    "F-16": "disk full: CA index",
    "F-17": "disk full: DPS store",
    "F-18": "disk full: HSM's token directory",
    "F-21": "the TEE's storage is lost",
    "F-22": "the TEE's storage is another box's",
    "F-23": "the TEE's storage is in RAM",
    "F-31": "the last line of a file of lines is torn",
    **{f"F-40-{step}": f"a run is cut at the step {step}" for step in STEPS},
}
"""The demanded faults: number and subject."""

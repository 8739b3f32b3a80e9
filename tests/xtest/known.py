"""What is known of single cases: those that cannot pass, and those that take long."""

from __future__ import annotations

FAILS = {
    "regression_1039": "its two TAs are signed by subkeys of Debian's root key, which is not the"
    " image's: TEEC_ERROR_SECURITY is right, and nobody else can sign subkeys with their UUIDs",
}
CASE_SECONDS = 300.0
SLOW_SECONDS = 1800.0
SLOW = frozenset(
    (
        *("regression_1006", "regression_1013", "regression_2002", "regression_2003"),
        *("regression_4006", "regression_4007_dh", "regression_4007_dsa", "regression_4007_rsa"),
        *("regression_4011", "regression_6010", "regression_6016", "regression_6018"),
        *("pkcs11_1018", "pkcs11_1019", "pkcs11_1021", "pkcs11_1023", "pkcs11_1026"),
    )
)
"""Marked ``slow`` and given more time: RSA and DH keys, and loops that TCG makes long."""

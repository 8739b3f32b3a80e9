"""C_InitToken, the one call that python-pkcs11 lacks, made on the module itself.

The module must not be initialised by anybody else in this process meanwhile: p11-kit's client gives
every caller a connection of its own, other modules have one state for all.
"""

from __future__ import annotations

import ctypes

_C_INITIALIZE, _C_FINALIZE, _C_INIT_TOKEN = 0, 1, 9
"""Places in CK_FUNCTION_LIST (PKCS#11 v2.40, 3.6): C_Initialize is first."""

LABEL_OCTETS = 32


class _FunctionList(ctypes.Structure):
    _fields_ = (("version", ctypes.c_ubyte * 2), ("calls", ctypes.c_void_p * 68))


def init_token(module: str, slot: int, label: str, so_pin: bytes) -> int:
    """Give the slot's token its label and SO PIN; the raw return value, 0 when it worked.

    On a token that is initialised already this WIPES it if the SO PIN is right: callers look at
    its flags first. The PIN goes from here into the module's call and nowhere else.
    """
    library = ctypes.CDLL(module)
    functions = ctypes.POINTER(_FunctionList)()
    answer = int(library.C_GetFunctionList(ctypes.byref(functions)))
    if answer:
        return answer
    calls = functions.contents.calls
    one_pointer = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)
    init = ctypes.CFUNCTYPE(
        ctypes.c_ulong, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p
    )
    answer = int(one_pointer(calls[_C_INITIALIZE])(None))
    if answer:
        return answer
    try:
        padded = label.encode().ljust(LABEL_OCTETS)[:LABEL_OCTETS]
        return int(init(calls[_C_INIT_TOKEN])(slot, so_pin, len(so_pin), padded))
    finally:
        one_pointer(calls[_C_FINALIZE])(None)

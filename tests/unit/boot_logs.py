"""What boxes print while they boot, as lines with times: the material of the boot tests.

The PPA and EdgeXL logs are put together from the signatures that their makers document
(device-facts 1.4, NXP's boot logs); the emulator's is a transcript.
"""

from __future__ import annotations

from harness.target import ConsoleLine


def timed(text: str, *, start: float = 100.0, step: float = 0.1) -> list[ConsoleLine]:
    """One line every ``step`` seconds from ``start`` on."""
    return [
        ConsoleLine(start + number * step, line) for number, line in enumerate(text.splitlines())
    ]


def lines_at(*pairs: tuple[float, str]) -> list[ConsoleLine]:
    return [ConsoleLine(at, text) for at, text in pairs]


EDGE_UNFUSED = """\
U-Boot SPL 2018.09-g8947717e16 (Oct 21 2019 - 17:01:00 -0700)
PPA Firmware: Version LSDK-18.09
SEC Firmware: 'loadables' present in config
loadables: 'trustedOS@1'
can't get CSF - HAB disabled
SSM not in secure/trusted state: 0x9
Security state failure
Continuing with non-secret testing identity
I/TC:
I/TC: OP-TEE version: 3.6.0-dev #1 Tue Oct 22 00:01:37 UTC 2019 aarch64
I/TC: Successfully captured Cyres certificate chain
I/TC: Successfully captured Cyres private key
I/TC: Initialized
Trying to boot from RAM


U-Boot 2018.09-g8947717e16 (Oct 21 2019 - 17:01:00 -0700)

SoC:  LS1012AE Rev2.0 (0x87040020)
DRAM:  958 MiB
Hit any key to stop autoboot:  0
Starting kernel ...

[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x410fd034]
[    0.000000] Linux version 5.10.72 (root@build) (aarch64-linux-gnu-gcc) #1 SMP PREEMPT
I/TC: Dynamic shared memory is enabled

trustbox login: """

EDGE_UNFUSED_STEPS = {"first": 0.0, "monitor": 0.1, "optee": 0.9, "uboot": 1.6, "kernel": 2.1}

EDGE_SECURE = """\
U-Boot SPL 2018.09-00480-gdc28a9fa63 (Jan 17 2019 - 11:17:15 -0800)
PPA Firmware: Version LSDK-18.09
SEC Firmware: 'loadables' present in config
loadables: 'trustedOS@1'
I/TC:
I/TC: OP-TEE version: 3.6.0-dev #6 Sat Jan 26 05:59:52 UTC 2019 aarch64
I/TC: Successfully captured Cyres certificate chain
I/TC: Successfully captured Cyres private key
I/TC: Initialized
Trying to boot from RAM

U-Boot 2018.09-00480-gdc28a9fa63 (Jan 17 2019 - 11:17:15 -0800)
esbc_validate: ERROR :: 800000 :: Unable to find valid signature
Core is entering spin loop."""

EDGEXL = """\
NOTICE:  2 GB DDR4, 32-bit, CL=11, ECC off
NOTICE:  BL2: v1.5(release):LSDK-20.04-update-290520
NOTICE:  BL2: Built : 13:52:31, May 18 2020
NOTICE:  BL31: v1.5(release):LSDK-20.04-update-290520
NOTICE:  BL31: Built : 13:52:31, May 18 2020
NOTICE:  Welcome to LS1046 BL31 Phase
I/TC: OP-TEE version: 3.6.0-dev #1 Tue Oct 22 00:01:37 UTC 2019 aarch64


U-Boot 2019.10+fsl+g1e55b2f9e7 (May 26 2020 - 06:54:57 +0000)

SoC:  LS1046AE Rev1.0 (0x87070010)
Hit any key to stop autoboot:  0
Starting kernel ...

[    0.000000] Linux version 5.10.72 (root@build) (aarch64-linux-gnu-gcc) #1 SMP PREEMPT
trustbox-xl login: """

EMULATED_NORMAL = lines_at(
    (0.559, "NOTICE:  Booting Trusted Firmware"),
    (0.560, "NOTICE:  BL1: v2.12.1(release):"),
    (0.588, "NOTICE:  BL1: Booting BL2"),
    (0.590, "NOTICE:  BL2: v2.12.1(release):"),
    (0.754, "NOTICE:  BL1: Booting BL31"),
    (0.762, "NOTICE:  BL31: v2.12.1(release):"),
    (0.846, ""),
    (0.846, "U-Boot 2025.01-3+deb13u1 (Jun 24 2026 - 09:07:15 +0000)"),
    (1.187, "Loading Environment from Flash... OK"),
    (1.245, "\\x1b[?25h"),
    (1.251, "Hit any key to stop autoboot:  0 "),
    (1.405, "Starting kernel ..."),
    (1.405, ""),
    (5.139, "TrustBox (emulated) /dev/ttyAMA0"),
    (5.139, "TB-EMU-0141 login: "),
)
EMULATED_SECURE = lines_at(
    (0.784, "I/TC: "),
    (
        0.807,
        "I/TC: OP-TEE version: 4.10.0-2 (gcc version 12.2.0 (Debian 12.2.0-14)) #1 Mon Nov 23",
    ),
    (0.807, "I/TC: WARNING: This OP-TEE configuration might be insecure!"),
    (0.828, "I/TC: Primary CPU switching to normal world boot"),
    (3.891, "I/TC: Dynamic shared memory is enabled"),
)

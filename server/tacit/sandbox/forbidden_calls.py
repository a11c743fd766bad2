"""System calls that a sandboxed program is refused: the filter (seccomp BPF) as bytes for the kernel. Pure.

A list of what is refused, not of what is allowed: compilers and runtimes of five languages have to work. On it is what leads
into the kernel's larger doors (namespaces, mounts, tracing, keyrings, io_uring, BPF), what reaches over the walls (sockets of
other families than Unix, which a network namespace does not separate all of), and memory that no limit of a process counts.
"""

import platform
import struct
from typing import Final

EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97

REFUSED: Final = {
    # Other processes, and their memory and files.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    # Namespaces and mounts.
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "open_tree_attr": (467, 467),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # Keyrings: a session's outlives the change of user.
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # Large doors into the kernel that no ordinary program needs.
    "bpf": (321, 280), "perf_event_open": (298, 241), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "userfaultfd": (323, 282), "fanotify_init": (300, 262), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "lookup_dcookie": (212, 18), "syslog": (103, 116), "acct": (163, 89),
    "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "vhangup": (153, 58),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "uselib": (134, None),
    # The machine's name and clock.
    "sethostname": (170, 161), "setdomainname": (171, 162), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    # Memory beyond the limits of processes.
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186), "mq_open": (240, 180),
}  # fmt: skip
"""Name: its number on x86_64 and on aarch64; None: there is none."""
MACHINES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Which column of the numbers, and the kernel's name of the machine (AUDIT_ARCH)."""
CLONE, CLONE3, SOCKET, IOCTL = (56, 220), (435, 435), (41, 198), (16, 29)
NEW_NAMESPACES: Final = 0x7E020000
"""Flags of `clone` that make one."""
AF_UNIX: Final = 1
WRITES_TO_TERMINAL: Final = (0x5412, 0x541C)
"""TIOCSTI, TIOCLINUX: what they put into a terminal counts as typed."""
OTHER_TABLE: Final = 0x40000000
"""From this number on: calls of another table (x32), where the same calls have other numbers."""

_NUMBER, _MACHINE, _FIRST, _SECOND = 0, 4, 16, 24
"""Where in `struct seccomp_data`; of arguments the lower half."""
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ERROR, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000


def bpf_filter(machine: str = platform.machine()) -> bytes:
    """`struct sock_filter`s. LookupError: the numbers of this machine's calls are not known."""
    if machine not in MACHINES:
        raise LookupError(f"System calls of {machine} are not known.")
    column, name = MACHINES[machine]
    code = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 1, 0, name),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, OTHER_TABLE),
        (_RETURN, 0, 0, _ERROR | ENOSYS),
    ]
    for numbers in REFUSED.values():
        if (number := numbers[column]) is not None:
            code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERROR | EPERM)]
    # Its flags are behind a pointer, which no filter sees: libraries fall back to `clone`.
    code += [(_EQUAL, 0, 1, CLONE3[column]), (_RETURN, 0, 0, _ERROR | ENOSYS)]
    code += _where(CLONE[column], [(_LOAD, 0, 0, _FIRST), (_ANY_BIT, 0, 1, NEW_NAMESPACES), (_RETURN, 0, 0, _ERROR | EPERM)])
    code += _where(SOCKET[column], [(_LOAD, 0, 0, _FIRST), (_EQUAL, 1, 0, AF_UNIX), (_RETURN, 0, 0, _ERROR | EAFNOSUPPORT)])
    for request in WRITES_TO_TERMINAL:
        code += _where(IOCTL[column], [(_LOAD, 0, 0, _SECOND), (_EQUAL, 0, 1, request), (_RETURN, 0, 0, _ERROR | EPERM)])
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *one) for one in code)


def _where(number: int, then: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """`then` for one call, after which the number is looked at again."""
    return [(_EQUAL, 0, len(then) + 1, number), *then, (_LOAD, 0, 0, _NUMBER)]

"""First stage inside the sandbox's process: shut every door, then become the program. Runs alone, by its text.

Started by :mod:`bench.sandbox` as ``python -I -S -c <this text> <settings as JSON>``; imports only the standard
library, since the project is out of sight once the doors are shut. Any failure is written to the status pipe and
ends the process: the program is never run with a door open. The pipe closes by itself when the program starts.

What it does, in order: namespaces of its own (mounts, network, processes, IPC, host name; as an ordinary user
inside a user namespace), a root folder in memory that holds a read-only view of the interpreter and nothing else,
resource limits, no privileges, no system calls that take memory past those limits, empty environment.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import struct
import sys

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
SECCOMP_MODE_FILTER = 2
# statvfs flags that a remount inside a user namespace must repeat (locked flags) -> the same as mount flags
KEPT_FLAGS = {2: MS_NOSUID, 4: MS_NODEV, 8: MS_NOEXEC, 1024: 1024, 2048: 2048, 4096: 1 << 21}
INNER_ID = 65534  # nobody, as seen from inside a user namespace
LIBRARY_PATHS = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/etc/ld.so.cache", "/etc/ld.so.conf", "/nix/store")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

# By machine: its audit number and the calls that are refused. Memory that they give belongs to no process (shared
# segments, files in memory, file systems in memory), so no limit of a process counts it; or they open further doors.
REFUSED_CALLS = {
    "x86_64": (
        0xC000003E,
        # shmget shmat semget msgget ptrace mount add_key keyctl unshare perf_event_open setns memfd_create bpf
        # userfaultfd io_uring_setup open_tree move_mount fsopen fsmount mount_setattr memfd_secret
        (29, 30, 64, 68, 101, 165, 248, 250, 272, 298, 308, 319, 321, 323, 425, 428, 429, 430, 432, 442, 447),
    ),
    "aarch64": (
        0xC00000B7,
        (194, 196, 190, 186, 117, 40, 217, 219, 97, 241, 268, 279, 280, 282, 425, 428, 429, 430, 432, 442, 447),
    ),
}

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """Call libc and raise OSError where it fails."""
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """The system call, with texts."""
    texts = [None if text is None else text.encode() for text in (source, target, kind)]
    call("mount", *texts, ctypes.c_ulong(flags), None if data is None else data.encode())


def enter_namespaces() -> bool:
    """Leave the host's network, processes and mounts; says whether a user namespace was needed."""
    spaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        try:
            call("unshare", spaces)
            return False
        except OSError:
            pass  # root without CAP_SYS_ADMIN, as in a plain container: a user namespace may still do
    call("unshare", spaces | CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{INNER_ID} {uid} 1"),
        ("gid_map", f"{INNER_ID} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    return True


def bind_read_only(source: str, target: str) -> None:
    """Show a file or folder of the host, read-only, at a place under the new root."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "w").close()
    mount(source, target, flags=MS_BIND | MS_REC)
    had = os.statvfs(target).f_flag
    kept = sum(flag for bit, flag in KEPT_FLAGS.items() if had & bit)
    device = source.startswith("/dev/")
    mount(None, target, flags=MS_REMOUNT | MS_BIND | (0 if device else MS_RDONLY | MS_NOSUID) | kept)


def change_root(readable: list[str], scratch_bytes: int) -> None:
    """Make a root in memory that holds the interpreter read-only, devices, and a writable /tmp."""
    mount(None, "/", flags=MS_REC | MS_PRIVATE)
    mount("root", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    root = "/tmp"
    linked = []
    for path in readable:
        if os.path.islink(path):  # /lib -> usr/lib on a merged system
            linked.append((os.readlink(path), root + path))
        elif os.path.exists(path) and not any(path.startswith(seen + "/") for seen in readable):
            bind_read_only(path, root + path)
    for target, link in linked:
        if not os.path.lexists(link):
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(target, link)
    for device in DEVICES:
        if os.path.exists(device):
            bind_read_only(device, root + device)
    os.makedirs(root + "/tmp", exist_ok=True)
    mount("scratch", root + "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, f"size={scratch_bytes},nr_inodes=1024,mode=1777")
    os.chdir(root)
    call("pivot_root", b".", b".")
    call("umount2", b".", MNT_DETACH)
    os.chdir("/")
    mount(None, "/", flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir("/tmp")


def drop_privileges(in_user_namespace: bool, uid: int) -> None:
    """Become a user who owns nothing; capabilities end with the exec that follows."""
    if not in_user_namespace:
        os.setgroups([])
        try:
            os.setresgid(uid, uid, uid)
        except OSError:  # root of a container that knows few ids
            uid = INNER_ID
            os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # Set last, because a change of user clears it: when process 1 is killed, so is the program.
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def refuse_calls() -> None:
    """Refuse system calls from here on (seccomp); on machines whose numbers are not known nothing is refused."""
    machine = os.uname().machine
    if machine not in REFUSED_CALLS:
        return
    architecture, numbers = REFUSED_CALLS[machine]
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06  # of classic BPF, as linux/filter.h has them
    refused = 0x00050000 | errno.EPERM
    count = len(numbers)
    steps = [
        (load, 0, 0, 4),  # the architecture: another one's numbers mean other calls
        (equal, 1, 0, architecture),
        (answer, 0, 0, refused),
        (load, 0, 0, 0),  # the call's number
        (at_least, count + 1, 0, 0x40000000),  # x32, whose numbers are others again
        *((equal, count - i, 0, number) for i, number in enumerate(numbers)),
        (answer, 0, 0, 0x7FFF0000),
        (answer, 0, 0, refused),
    ]
    program = b"".join(struct.pack("HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HP", len(steps), ctypes.addressof(held))
    call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0)


def set_limits(limits: dict[str, int]) -> None:
    """The resource limits, soft and hard."""
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))


def code_of(child: int) -> int:
    """Wait for a child to end; how it did, as a shell says it. Others that end meanwhile are only reaped."""
    while True:
        process, ended = os.waitpid(-1, 0)
        if process == child:
            code = os.waitstatus_to_exitcode(ended)
            return code if code >= 0 else 128 - code


def main() -> None:
    """Shut the doors, start the program in a world of its own, and pass on how it ended."""
    settings = json.loads(sys.argv[1])
    status = settings["status_fd"]
    os.set_inheritable(status, False)
    try:
        call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        in_user_namespace = enter_namespaces()
        child = os.fork()
        if child == 0:
            readable = [*LIBRARY_PATHS, *settings["readable"]]
            change_root(list(dict.fromkeys(readable)), settings["scratch_bytes"])
            # Process 1 stays ours: the program can neither end it nor take the death signal from it, and whatever
            # the program leaves behind ends with it.
            call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
            program = os.fork()
            if program == 0:
                set_limits(settings["limits"])
                drop_privileges(in_user_namespace, settings["uid"])
                refuse_calls()
                os.execve(settings["command"][0], settings["command"], {})
            os.close(status)
            os._exit(code_of(program))
    except BaseException as error:
        os.write(status, f"{type(error).__name__}: {error}".encode())
        os._exit(125)
    os.close(status)
    os._exit(code_of(child))


main()

"""The inside of the sandbox: a stand-alone script that locks itself in and then runs one untrusted program.

Started by `sandbox.py` as `python -I -S -B sandbox_child.py REQUEST`, never imported. It imports nothing of
ours: what it can reach, the program can reach. Locks, each where the system has it: resource limits
everywhere; on Linux also no capabilities, a Landlock ruleset (no writing at all, reading of Python's own
files only) and a seccomp filter (no processes, threads, programs, sockets, signals to others, tracing).
"""

import ctypes
import json
import os
import platform
import resource
import sys

SYSCALLS = {  # machine: (audit architecture, denied system calls)
    "x86_64": (
        0xC000003E,
        (
            56, 57, 58, 59, 322,  # clone, fork, vfork, execve, execveat
            41, 53, 42, 49, 50, 44, 46, 307,  # socket, socketpair, connect, bind, listen, send*
            62, 200, 234, 129, 297, 424,  # kill, tkill, tgkill, rt_(tg)sigqueueinfo, pidfd_send_signal
            101, 310, 311, 438,  # ptrace, process_vm_readv, process_vm_writev, pidfd_getfd
            272, 308, 155, 161, 165,  # unshare, setns, pivot_root, chroot, mount
            29, 64, 68, 240, 319, 425, 298, 321, 323,  # shared memory, semaphores, queues, io_uring, bpf
            248, 249, 250, 141, 203,  # add_key, request_key, keyctl, setpriority, sched_setaffinity
            76, 90, 91, 268, 452, 92, 93, 94, 260,  # truncate, (f)chmod(at)(2), (f,l)chown(at): not Landlock's
            132, 235, 261, 280, 188, 189, 190, 197, 198, 199,  # utime(s), futimesat, utimensat, set- and removexattr
        ),
        302,
    ),
    "aarch64": (
        0xC00000B7,
        (
            220, 221, 281,
            198, 199, 203, 200, 201, 206, 211, 269,
            129, 130, 131, 138, 240, 424,
            117, 270, 271, 438,
            97, 268, 41, 51, 40,
            194, 190, 186, 180, 279, 425, 241, 280, 282,
            217, 218, 219, 140, 122,
            45, 52, 53, 452, 54, 55,
            88, 5, 6, 7, 14, 15, 16,
        ),
        261,
    ),
}  # fmt: skip
CLONE3 = 435
EPERM, ENOSYS = 1, 38
LANDLOCK_READ = 0b1101  # execute (shared libraries), read file, read directory


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        request = json.load(file)
    os.unlink(sys.argv[1])
    report = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(null, target)
    locks = lock(request)
    outcome = {"locks": locks, **execute(request)}
    # Only code that ran to its end gets here; the token keeps `sys.exit(0)` and a printed "passed" from
    # counting.
    os.write(report, (request["token"] + json.dumps(outcome)).encode())
    os._exit(0)


def execute(request: dict) -> dict:
    names = {"__name__": "__main__"}
    sys.argv = ["program.py"]
    try:
        exec(compile(request["program"], "program.py", "exec"), names)
        if request["call"] is None:
            return {"ok": True}
        value = names[request["call"]]()
        return {"ok": True, "value": float(value)}
    except MemoryError:
        return {"ok": False, "error": "MemoryError"}
    except BaseException as exc:  # the program's, of any kind: SystemExit and KeyboardInterrupt too
        return {"ok": False, "error": f"{type(exc).__name__}: {exc}"[:300]}


def lock(request: dict) -> list:
    """Apply what this system has, from the outside in; returns the names of the locks that hold."""
    locks = []
    limits = {
        "RLIMIT_CPU": request["cpu_s"],
        "RLIMIT_AS": request["memory_bytes"],
        "RLIMIT_FSIZE": request["file_bytes"],
        "RLIMIT_NPROC": 0,
        "RLIMIT_NOFILE": 32,
        "RLIMIT_CORE": 0,
        "RLIMIT_STACK": 64 << 20,
    }
    for name, value in limits.items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
            locks.append(name.lower())
        except (AttributeError, ValueError, OSError):
            pass
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        for name, apply in (
            ("no_new_privs", no_new_privs),
            ("capabilities", drop_capabilities),
            ("landlock", landlock),
            ("seccomp", seccomp),
        ):
            if apply(libc):
                locks.append(name)
    return locks


def no_new_privs(libc) -> bool:
    libc.prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG: SIGKILL when the evaluation dies
    return libc.prctl(38, 1, 0, 0, 0) == 0


def drop_capabilities(libc) -> bool:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    return libc.capset(header, (ctypes.c_uint32 * 6)()) == 0


def landlock(libc) -> bool:
    abi = libc.syscall(444, None, ctypes.c_size_t(0), 1)
    if abi < 1:
        return False
    handled = (
        1 << (13 if abi == 1 else 14 if abi == 2 else 15)
    ) - 1  # every right to a file this kernel knows
    ruleset = libc.syscall(444, (ctypes.c_uint64 * 1)(handled), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False

    class PathBeneath(ctypes.Structure):
        _pack_ = 1
        _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]

    libraries = {
        os.path.dirname(os.__file__),
        sys.base_prefix,
        "/usr/lib",
        "/usr/lib64",
        "/lib",
        "/lib64",
        "/usr/share/zoneinfo",
        "/dev/null",
        "/dev/urandom",
    }
    for path in libraries:
        try:
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        allowed = (
            LANDLOCK_READ if os.path.isdir(path) else LANDLOCK_READ & ~8 | (2 if path == "/dev/null" else 0)
        )
        libc.syscall(445, ruleset, 1, ctypes.byref(PathBeneath(allowed, parent)), 0)
        os.close(parent)
    done = libc.syscall(446, ruleset, 0) == 0
    os.close(ruleset)
    return done


def seccomp(libc) -> bool:
    if platform.machine() not in SYSCALLS:
        return False
    architecture, denied, prlimit = SYSCALLS[platform.machine()]
    load, jump_equal, jump_at_least, answer = 0x20, 0x15, 0x35, 0x06
    fail, allow = 0x00050000, 0x7FFF0000
    code = [
        (load, 0, 0, 4),  # the architecture
        (jump_equal, 1, 0, architecture),
        (answer, 0, 0, 0x80000000),  # another one's numbers mean other calls: kill
        (load, 0, 0, 0),  # the system call's number
        (jump_at_least, 0, 1, 0x40000000),  # x32 calls on x86_64
        (answer, 0, 0, fail | EPERM),
        (jump_equal, 0, 1, CLONE3),
        (answer, 0, 0, fail | ENOSYS),
    ]
    for number in denied:
        code += [(jump_equal, 0, 1, number), (answer, 0, 0, fail | EPERM)]
    code += [
        (jump_equal, 0, 3, prlimit),  # own limits may be read, others' may not be touched
        (load, 0, 0, 16),
        (jump_equal, 1, 0, 0),
        (answer, 0, 0, fail | EPERM),
        (answer, 0, 0, allow),
    ]

    class Filter(ctypes.Structure):
        _fields_ = [
            ("code", ctypes.c_uint16),
            ("jt", ctypes.c_uint8),
            ("jf", ctypes.c_uint8),
            ("k", ctypes.c_uint32),
        ]

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_uint16), ("filter", ctypes.POINTER(Filter))]

    filters = (Filter * len(code))(*[Filter(*row) for row in code])
    program = Program(len(code), ctypes.cast(filters, ctypes.POINTER(Filter)))
    return libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


main()

"""Small programs, each of which tries one way out of the sandbox. Data: `test_sandbox_escapes` runs them, inside and outside.

A probe prints OUT when it has got what it wanted, so the same text judges it on both sides of the wall. `WORLD` is put before
each: what there is outside to be reached.
"""

from dataclasses import dataclass

OUT = "GOT" + " OUT"
"""What a probe that got out prints."""


@dataclass(frozen=True, slots=True)
class Probe:
    name: str
    program: str
    not_outside: str = ""
    """Why it is not run outside, or may fail there; empty: outside it must succeed."""
    run_outside: bool = True


FORBIDDEN = "a container may forbid it"
NONE = "a kernel may have none"
ROOT = "it takes a privilege that a container or an ordinary user may lack"
HARM = "it would harm the machine that runs the tests"

PRELUDE = '''
import ctypes, errno, os, signal, socket, sys, time
_libc = ctypes.CDLL(None, use_errno=True)
MACHINE = os.uname().machine
def call(x86, arm, *arguments):
    """A raw system call: (result, errno)."""
    ctypes.set_errno(0)
    found = _libc.syscall(ctypes.c_long(x86 if MACHINE == "x86_64" else arm), *arguments)
    return found, ctypes.get_errno()
def long(number):
    return ctypes.c_long(number)
def out(got=True):
    if got:
        print("GOT" + " OUT", flush=True)
def echo(family, address, kind=socket.SOCK_STREAM):
    one = socket.socket(family, kind)
    one.settimeout(3)
    one.connect(address)
    one.send(b"anybody?")
    out(one.recv(100) == b"anybody?")
'''

PROBES = (
    # Network
    Probe("TCP to this machine", "echo(socket.AF_INET, ('127.0.0.1', WORLD['tcp']))"),
    Probe("UDP to this machine", "echo(socket.AF_INET, ('127.0.0.1', WORLD['udp']), socket.SOCK_DGRAM)"),
    Probe("a Unix socket by its path", "echo(socket.AF_UNIX, WORLD['unix'])"),
    Probe("a Unix socket by its abstract name", "echo(socket.AF_UNIX, '\\0' + WORLD['abstract'])"),
    Probe("a socket that listens", "s = socket.socket(); s.bind(('0.0.0.0', 0)); s.listen(); out()"),
    Probe("raw IP", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); out()", ROOT),
    Probe("raw frames", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); out()", ROOT),
    Probe("netlink: the machine's interfaces",
          "s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); s.bind((0, 0)); out()"),
    Probe("vsock: the machine that this one runs in", "socket.socket(40, socket.SOCK_STREAM); out()", "it needs a kernel module"),
    Probe("Bluetooth and other families",
          "for family in (31, 4, 5, 9, 10, 16, 17, 21, 26, 29, 38, 44):\n"
          "    try:\n        socket.socket(family, socket.SOCK_RAW if family == 31 else socket.SOCK_DGRAM); out()\n"
          "    except OSError: pass"),
    Probe("a name is resolved", "out(bool(socket.getaddrinfo('localhost', 80)))"),
    Probe("who resolves names", "out(os.path.exists('/etc/resolv.conf') or os.path.exists('/etc/nsswitch.conf'))",
          "a container may have neither"),
    # Files
    Probe("writes in a folder of the host", "open(WORLD['folder'] + '/written', 'w').write('x'); out()"),
    Probe("reads a file of the host", "out('planted' in open(WORLD['secret']).read())"),
    Probe("reads it through a link", "os.symlink(WORLD['secret'], 'l'); out('planted' in open('l').read())"),
    Probe("reads it through another name", "os.link(WORLD['secret'], WORLD['secret'] + '2'); out()"),
    Probe("reads it through /proc/1/root", "out('planted' in open('/proc/1/root' + WORLD['secret']).read())", ROOT),
    Probe("reads it through /proc/self/root", "out('planted' in open('/proc/self/root' + WORLD['secret']).read())"),
    Probe("reads it through /proc/self/cwd",
          "out('planted' in open('/proc/self/cwd/' + '../' * 20 + WORLD['secret']).read())"),
    Probe("reads it through the test's process",
          "out('planted' in open(f'/proc/{WORLD[\"tests\"]}/root' + WORLD['secret']).read())"),
    Probe("a descriptor that was left open",
          "for number in range(3, 256):\n"
          "    try:\n        if b'planted' in os.pread(number, 100, 0): out()\n    except OSError: pass"),
    Probe("the home's files", "out(bool(set(os.listdir(WORLD['home'])) & set(WORLD['home_entries'])))", "a home may be empty"),
    Probe("users and their passwords", "out('root:' in open('/etc/passwd').read())"),
    Probe("writes in /etc", "open('/etc/tacit-probe', 'w'); out()", HARM, run_outside=False),
    Probe("writes in /usr", "open('/usr/tacit-probe', 'w'); out()", HARM, run_outside=False),
    Probe("writes where Python is", "open(sys.prefix + '/tacit-probe', 'w'); out()", HARM, run_outside=False),
    Probe("writes in /dev/shm", "open('/dev/shm/tacit-probe', 'w'); os.unlink('/dev/shm/tacit-probe'); out()"),
    Probe("the key that restarts the machine", "os.open('/proc/sysrq-trigger', os.O_WRONLY); out()", ROOT),
    Probe("settings of the kernel", "os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY); out()", ROOT),
    Probe("devices of the machine",
          "out(any(os.path.exists('/dev/' + one) for one in ('kmsg', 'mem', 'vda', 'sda', 'kvm', 'fuse', 'vsock', 'mapper')))",
          "a container may have none"),
    Probe("a device of its own", "os.mknod('d', 0o60600, os.makedev(254, 0)); out()", ROOT),
    Probe("another root", "os.chroot('.'); out()", ROOT),
    Probe("a root that is turned round", "out(call(155, 41, b'.', b'.')[1] not in (errno.EPERM, errno.ENOSYS))", ROOT),
    Probe("a file system in a namespace of its own",
          "call(272, 97, long(0x10020000)); out(_libc.mount(b'none', os.getcwd().encode(), b'tmpfs', 0, None) == 0)", ROOT),
    Probe("a file system by the newer calls", "out(call(430, 430, b'tmpfs', long(0))[0] >= 0)", ROOT),
    Probe("a file by its handle",
          "handle = ctypes.create_string_buffer(b'\\x80' + b'\\0' * 3, 8 + 128); mount = ctypes.c_int()\n"
          "out(call(303, 264, long(-100), b'/usr', handle, ctypes.byref(mount), long(0))[0] == 0)",
          "not every file system has handles"),
    # Processes
    Probe("other processes are seen",
          "for one in os.listdir('/proc'):\n    if one.isdigit():\n"
          "        try: out(WORLD['token'].encode() + b'-victim' in open(f'/proc/{one}/cmdline', 'rb').read())\n"
          "        except OSError: pass"),
    Probe("another process's environment", "out(b'planted' in open(f'/proc/{WORLD[\"victim\"]}/environ', 'rb').read())"),
    Probe("another process is traced",
          "out(call(101, 117, long(0x4206), long(WORLD['victim']), long(0), long(0))[0] == 0)", ROOT),
    Probe("a child is traced",
          "child = os.fork()\nif not child:\n    time.sleep(20); os._exit(0)\n"
          "out(call(101, 117, long(0x4206), long(child), long(0), long(0))[0] == 0); os.kill(child, 9)"),
    Probe("another process's memory",
          "class V(ctypes.Structure):\n    _fields_ = [('at', ctypes.c_void_p), ('n', ctypes.c_size_t)]\n"
          "source = ctypes.create_string_buffer(b'planted'); goal = ctypes.create_string_buffer(8)\n"
          "here, there = V(ctypes.addressof(goal), 7), V(ctypes.addressof(source), 7)\n"
          "call(310, 270, long(os.getpid()), ctypes.byref(here), long(1), ctypes.byref(there), long(1), long(0))\n"
          "out(goal.value == b'planted')", FORBIDDEN),
    Probe("the memory of the program that started it, through a file",
          "source = ctypes.create_string_buffer(b'planted')\nif os.fork() == 0:\n    try:\n"
          "        with open(f'/proc/{os.getppid()}/mem', 'rb') as memory:\n"
          "            memory.seek(ctypes.addressof(source)); out(memory.read(7) == b'planted')\n"
          "    finally:\n        os._exit(0)\nos.wait()", FORBIDDEN),
    Probe("another process's files",
          "one = os.pidfd_open(os.getpid()); out(call(438, 438, long(one), long(0), long(0))[0] >= 0)", FORBIDDEN),
    Probe("a signal to another process", "os.kill(WORLD['victim'], 0); out()"),
    Probe("a signal to the first process", "os.kill(1, signal.SIGKILL); time.sleep(1); out()", HARM, run_outside=False),
    Probe("becomes root", "os.setuid(0); out(os.geteuid() == 0)", ROOT),
    Probe("programs that make root of anybody",
          "out('NoNewPrivs:\\t0' in open('/proc/self/status').read())", "a container may have it set"),
    Probe("capabilities", "out(int(open('/proc/self/status').read().split('CapEff:')[1].split()[0], 16) != 0)", ROOT),
    Probe("a namespace of users", "out(call(272, 97, long(0x10000000))[0] == 0)", ROOT),
    Probe("a namespace of the network", "out(call(272, 97, long(0x50000000))[0] == 0)", ROOT),
    Probe("a namespace with a new process",
          "child = call(56, 220, long(0x10000000 | signal.SIGCHLD), long(0), long(0), long(0), long(0))[0]\n"
          "if child == 0: os._exit(0)\nout(child > 0)", ROOT),
    Probe("a namespace by the newer call",
          "arguments = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, signal.SIGCHLD)\n"
          "child = call(435, 435, arguments, long(88))[0]\nif child == 0: os._exit(0)\nout(child > 0)", ROOT),
    Probe("the namespaces of another process",
          "out(call(308, 268, long(os.open('/proc/1/ns/uts', os.O_RDONLY)), long(0))[0] == 0)", ROOT),
    Probe("the session's keyring", "out(call(250, 219, long(0), long(-3), long(1))[0] > 0)", NONE),
    Probe("a key is left there",
          "out(call(248, 217, b'user', b'tacit-probe', b'x', long(1), long(-2))[0] > 0)", NONE),
    Probe("io_uring", "out(call(425, 425, long(4), ctypes.create_string_buffer(256))[0] >= 0)", FORBIDDEN),
    Probe("BPF", "out(call(321, 280, long(0), (ctypes.c_uint32 * 32)(2, 4, 4, 1), long(128))[0] >= 0)", ROOT),
    Probe("counters of the kernel",
          "out(call(298, 241, (ctypes.c_uint32 * 32)(1, 128), long(0), long(-1), long(-1), long(0))[0] >= 0)", ROOT),
    Probe("userfaultfd", "out(call(323, 282, long(1))[0] >= 0)", FORBIDDEN),
    Probe("the kernel's log", "out(call(103, 116, long(10), None, long(0))[0] >= 0)", ROOT),
    Probe("a kernel module", "out(call(175, 105, None, long(0), b'')[1] not in (errno.EPERM, errno.ENOSYS))", ROOT),
    Probe("the machine ends", "out(call(169, 142, long(1), long(1), long(1), None)[1] == errno.EINVAL)", ROOT),
    Probe("the machine's name", "out(_libc.sethostname(os.uname().nodename.encode(), len(os.uname().nodename)) == 0)", ROOT),
    Probe("the machine's clock", "time.clock_settime(time.CLOCK_REALTIME, time.time()); out()", HARM, run_outside=False),
    Probe("goes first", "os.nice(-5); out()", ROOT),
    Probe("calls by the other table's numbers", "out(call(0x40000000 + 39, 0x40000000 + 172)[1] != errno.ENOSYS)",
          "a kernel may lack it"),
    # Resources
    Probe("a gigabyte", "import mmap; held = mmap.mmap(-1, 1 << 30); out()"),
    Probe("memory in files without a name",
          "held = []\nfor _ in range(20):\n    held.append(os.memfd_create('x')); os.write(held[-1], b'x' * (8 << 20))\nout()"),
    Probe("memory that is shared", "out(call(29, 194, long(0), long(1 << 30), long(0o1600))[0] >= 0)", FORBIDDEN),
    Probe("a large file", "f = open('large', 'wb')\nfor _ in range(64): f.write(b'x' * (1 << 20))\nout()"),
    Probe("many large files", "for n in range(16): open(f'large{n}', 'wb').write(b'x' * (4 << 20))\nout()"),
    Probe("words without end", "for _ in range(64): os.write(1, b'x' * (1 << 20))\nprint(); out()"),
    Probe("many open files", "held = [os.open('/dev/null', os.O_RDONLY) for _ in range(200)]; out()"),
    Probe("processes without end",
          "children = []\ntry:\n    while len(children) < 100:\n        child = os.fork()\n"
          "        if not child: time.sleep(20); os._exit(0)\n"
          "        children.append(child)\n    out()\nfinally:\n    for child in children: os.kill(child, 9)"),
    Probe("threads without end",
          "import threading\nend = threading.Event()\n"
          "held = [threading.Thread(target=end.wait, daemon=True) for _ in range(100)]\n"
          "try:\n    for one in held: one.start()\n    out()\nfinally: end.set()"),
    Probe("limits are lifted", "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1)); out()"),
    Probe("computes without end", "while time.process_time() < WORLD['cpu']: pass\nout()"),
    Probe("waits without end", "time.sleep(WORLD['wall']); out()"),
    Probe("waits without end and hears no signal",
          "for one in range(1, 32):\n    if one not in (9, 19): signal.signal(one, signal.SIG_IGN)\n"
          "time.sleep(WORLD['wall']); out()"),
    # Environment
    Probe("secrets of the environment", "out('planted' in str(os.environ))"),
    Probe("secrets of the environment at its start",
          "for one in ('self', '1'):\n    try: out(b'planted' in open(f'/proc/{one}/environ', 'rb').read())\n"
          "    except OSError: pass"),
    Probe("sockets that the environment names",
          "out(bool({'SSH_AUTH_SOCK', 'DBUS_SESSION_BUS_ADDRESS', 'DISPLAY', 'XDG_RUNTIME_DIR'} & set(os.environ)))"),
    Probe("the agent that holds keys", "echo(socket.AF_UNIX, os.environ.get('SSH_AUTH_SOCK') or WORLD['unix'])"),
    # Living on
    Probe("a daemon", "DAEMON()"),
    Probe("a daemon that hears no signal", "for one in (1, 2, 15, 18): signal.signal(one, signal.SIG_IGN)\nDAEMON()"),
    Probe("a daemon of a program that is ended", "DAEMON()\ntime.sleep(WORLD['wall'])"),
)  # fmt: skip

DAEMON = """
def DAEMON():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(120)", WORLD["token"] + "-daemon"])
        os._exit(0)
    os.wait()
"""
"""It prints nothing: a process that is there afterwards is the success."""

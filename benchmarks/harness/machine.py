"""Looks at this machine and its processes through /proc."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_LISTENING = "0A"


def cpu_seconds(pids: Iterable[int]) -> float:
    """Add up the CPU seconds, user and system, of processes with all their threads.

    What children that have ended used is in it: a database may fork to save what it has.
    """
    return sum(_cpu_seconds_of(pid) for pid in pids)


def _cpu_seconds_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0  # it has ended
    return sum(map(int, fields[11:15])) / _TICKS


def family(pid: int) -> list[int]:
    """List a process and all below it."""
    found = [pid]
    for parent in found:
        with suppress(OSError):  # it has ended
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def busy_seconds() -> float:
    """Tell how many CPU seconds this machine has spent on work since it started.

    What its host took from it, as a virtual machine, is work too: nobody here could use it.
    """
    return _busy_ticks(_first_line(Path("/proc/stat"))) / _TICKS


def _busy_ticks(line: str) -> int:
    user, nice, system, _idle, _wait, *interrupts_and_stolen = map(int, line.split()[1:9])
    return sum((user, nice, system, *interrupts_and_stolen))


def _first_line(path: Path) -> str:
    with path.open() as file:
        return file.readline()


def resident_bytes(pids: Iterable[int]) -> int:
    """Add up the memory that processes have in RAM."""
    statuses = [Path(f"/proc/{pid}/status").read_text().splitlines() for pid in pids]
    sizes = (line.split()[1] for lines in statuses for line in lines if line.startswith("VmRSS:"))
    return sum(map(int, sizes)) * 1024


def listeners(port: int) -> list[int]:
    """Find the processes that listen on a local TCP port, as far as this user may see them."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if sockets and sockets & _descriptors(pid)]


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            columns = line.split()
            if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(columns[9])
    return inodes


def _descriptors(pid: int) -> set[str]:
    targets = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            targets.add(str(descriptor.readlink()))
    except OSError:
        pass  # it has ended, or belongs to somebody else
    return targets

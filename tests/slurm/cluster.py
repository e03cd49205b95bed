"""A whole SLURM on loopback for tests: munge, one controller, one node with fake GPUs, and (on request) accounting.

No systemd, no root-owned folders, nothing written outside its own folder: own key, own ports, own configuration, and
every daemon is ended by its own pid. With `isolated` all of it lives in a network namespace that has a loopback and
nothing else: a job that reaches for the internet fails. `Cluster` is a context manager; `environment` and `prefix` are
what a client needs.
"""

import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from slurm_conf import CGROUP_CONF, SLURM_CONF, SLURM_CONF_ACCOUNTING, SLURMDBD_CONF

DAEMONS = ("munged", "slurmctld", "slurmd")
ACCOUNTING_DAEMONS = ("slurmdbd", "mariadbd")
KILL_WAIT = 5  # seconds from SIGTERM to SIGKILL
# The second address: with 127.0.0.1 alone, glibc holds that this machine has no IPv4, and resolves nothing for SLURM.
LOOPBACK = "ip link set lo up && ip address add 10.255.255.1/32 dev lo"
# Character devices that do no harm: SLURM accepts nothing else as a GPU's device file.
STAND_INS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")


def missing(accounting: bool = False) -> str | None:
    """Why no cluster can be started on this machine, or None."""
    wanted = DAEMONS + (ACCOUNTING_DAEMONS if accounting else ())
    absent = [name for name in wanted if _program(name) is None]
    if absent:
        packages = "munge slurmctld slurmd slurm-client" + (" slurmdbd mariadb-server" if accounting else "")
        return f"{', '.join(absent)} not installed: apt-get install -y --no-install-recommends {packages}"
    return None


@dataclass
class Cluster:
    """One node with `gpus` fake A100 and `cpus` processors; partitions short, gpu, scavenge (preemptible)."""

    root: Path
    gpus: int = 2
    cpus: int = 4
    memory_mb: int = 256000
    accounting: bool = False
    isolated: bool = False
    ports: list[int] = field(default_factory=list)
    prefix: list[str] = field(default_factory=list)

    def __enter__(self) -> "Cluster":
        for folder in ("log", "run", "state", "spool", "bin", "dev"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        self.ports = _free_ports(4)
        try:
            if self.isolated:
                self._leave_the_network()
            self._start_munge()
            if self.accounting:
                self._start_accounting()
            self._write("slurm.conf", self._slurm_conf())
            self._write("gres.conf", self._gres_conf())
            self._write("cgroup.conf", CGROUP_CONF)
            self._write_srun_shim()
            self._daemon("slurmctld", "-i")
            self._daemon("slurmd", "-N", self.node)
            self._wait_for("the node to be idle", lambda: self.node_state() == "idle", seconds=60)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def node(self) -> str:
        """The node's name, which also names its cgroups: no other cluster on this machine has it."""
        return f"node{self.ports[0]}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of a client; PATH starts with an srun that restores SLURM_CONF, which the plugin strips."""
        path = f"{self.root}/bin:{os.environ['PATH']}"
        return {**os.environ, "SLURM_CONF": f"{self.root}/slurm.conf", "PATH": path}

    def run(self, *command: str, seconds: float = 30) -> str:
        """Standard output of a client command such as `squeue`; CalledProcessError when it fails."""
        result = self._call(*command, seconds=seconds)
        if result.returncode:
            raise AssertionError(f"{' '.join(command)}: {result.stderr.strip() or result.stdout.strip()}")
        return result.stdout

    def node_state(self) -> str:
        """State of the node in words: idle, mixed, allocated, down, ... ; empty while the controller is silent."""
        return self._call("sinfo", "-h", "-N", "-n", self.node, "-p", "gpu", "-o", "%T").stdout.strip()

    def jobs(self) -> list[dict]:
        """Every job the controller remembers: id, state, comment, folder, restarts, start and end in seconds."""
        rows = json.loads(self.run("squeue", "--json"))["jobs"]
        return [
            {
                "id": row["job_id"],
                "state": row["job_state"],
                "comment": row["comment"],
                "folder": row["current_working_directory"],
                "restarts": row["restart_cnt"],
                "start": row["start_time"],
                "end": row["end_time"],
            }
            for row in rows
        ]

    def lose_node(self) -> None:
        """Set the node down under its jobs, and bring it back when all their processes have ended."""
        self.run("scontrol", "update", f"NodeName={self.node}", "State=DOWN", "Reason=test")
        time.sleep(KILL_WAIT + 3)  # sooner, SLURM meets the same job twice on the node and drains it
        self.run("scontrol", "update", f"NodeName={self.node}", "State=RESUME")

    def stop(self) -> None:
        """Cancel what runs and end this cluster's own daemons, controller first so that it can save its state."""
        if (self.root / "run" / "slurmctld.pid").exists():
            self._call("scancel", "--user", _user())
            time.sleep(1)
        for name in ("slurmctld", "slurmd", *ACCOUNTING_DAEMONS, "munged", "namespace"):
            _end(self.root / "run" / f"{name}.pid")
        for pid in _with_environment(f"SLURM_CONF={self.root}/slurm.conf"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # job steps that wait for a controller which is gone
        for folder in Path("/sys/fs/cgroup").glob(f"*/slurm_{self.node}"):
            for inner in (*sorted(folder.rglob("*/"), reverse=True), folder):
                _remove_cgroup(inner)

    def _call(self, *command: str, seconds: float = 30) -> subprocess.CompletedProcess:
        whole = [*self.prefix, *command]
        return subprocess.run(whole, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False)

    def _leave_the_network(self) -> None:
        """Hold a network namespace open that has only a loopback, and enter it with every command from now on."""
        holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", f"{LOOPBACK} && echo ready && exec sleep infinity"],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        (self.root / "run" / "namespace.pid").write_text(str(holder.pid))
        if holder.stdout.readline() != "ready\n":
            raise RuntimeError("no network namespace can be made on this machine")
        self.prefix = ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]

    def _start_munge(self) -> None:
        key = self.root / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        run = self.root / "run"
        self._daemon(
            "munged",
            "--force",
            f"--key-file={key}",
            f"--socket={run / 'munge.socket'}",
            f"--pid-file={run / 'munged.pid'}",
            f"--log-file={self.root / 'log' / 'munged.log'}",
            f"--seed-file={run / 'munged.seed'}",
        )

    def _start_accounting(self) -> None:
        data, run, log = self.root / "mysql", self.root / "run", self.root / "log"
        user, socket_path = _user(), run / "mysql.sock"
        data.mkdir()
        install = ["mariadb-install-db", "--no-defaults", f"--user={user}", f"--datadir={data}"]
        install += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(install, check=True, capture_output=True, timeout=120)
        server = [_program("mariadbd"), "--no-defaults", f"--user={user}", f"--datadir={data}"]
        server += [f"--socket={socket_path}", f"--pid-file={run / 'mariadbd.pid'}", "--bind-address=127.0.0.1"]
        server += [f"--port={self.ports[3]}", "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900"]
        with open(log / "mariadbd.log", "w") as file:
            subprocess.Popen([*self.prefix, *server], stdout=file, stderr=file, start_new_session=True)
        client = ["mariadb", "--no-defaults", "-uroot", "-S", str(socket_path)]
        self._wait_for("the database", lambda: not self._call(*client, "-e", "select 1").returncode, seconds=60)
        grants = "".join(
            f"create user slurm@{host} identified by 'slurm'; grant all on slurm_acct_db.* to slurm@{host};"
            for host in ("127.0.0.1", "localhost")
        )
        subprocess.run([*client, "-e", f"create database slurm_acct_db; {grants}"], check=True, timeout=30)
        self._write("slurm.conf", self._slurm_conf())
        self._write("slurmdbd.conf", self._slurmdbd_conf())
        (self.root / "slurmdbd.conf").chmod(0o600)
        self._daemon("slurmdbd")
        self._wait_for("slurmdbd", lambda: not self._call("sacctmgr", "-n", "list", "cluster").returncode, seconds=60)
        for what in (["cluster", "test"], ["account", "lab"], ["user", user, "account=lab"]):
            self.run("sacctmgr", "-i", "add", *what)

    def _slurm_conf(self) -> str:
        host, user = _host(), _user()
        enforced = _memory_cgroup()
        accounting = "AccountingStorageType=accounting_storage/none"
        if self.accounting:
            accounting = SLURM_CONF_ACCOUNTING.format(root=self.root, port=self.ports[2])
        return SLURM_CONF.format(
            root=self.root,
            name=self.node,
            host=host,
            user=user,
            controller=self.ports[0],
            node=self.ports[1],
            track="cgroup" if enforced else "linuxproc",
            task="cgroup" if enforced else "none",
            # Without the memory controller SLURM polls the memory of each task and kills the job itself.
            gather="" if enforced else "JobAcctGatherParams=OverMemoryKill",
            accounting=accounting,
            cpus=self.cpus,
            memory=self.memory_mb,
            gpus=self.gpus,
            kill_wait=KILL_WAIT,
        )

    def _slurmdbd_conf(self) -> str:
        return SLURMDBD_CONF.format(root=self.root, host=_host(), user=_user(), port=self.ports[2], sql=self.ports[3])

    def _gres_conf(self) -> str:
        lines = ["AutoDetect=off"]
        for index in range(self.gpus):
            device = self.root / "dev" / f"nvidia{index}"
            try:
                os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
            except PermissionError:
                device = Path(STAND_INS[index])
            lines.append(f"NodeName={self.node} Name=gpu Type=a100 File={device}")
        return "\n".join(lines) + "\n"

    def _write_srun_shim(self) -> None:
        shim = self.root / "bin" / "srun"
        shim.write_text(f'#!/bin/sh\nSLURM_CONF={self.root / "slurm.conf"} exec {shutil.which("srun")} "$@"\n')
        shim.chmod(0o755)

    def _write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def _daemon(self, name: str, *arguments: str) -> None:
        result = self._call(_program(name), *arguments, seconds=60)
        if result.returncode:
            raise RuntimeError(f"{name} did not start: {result.stderr.strip() or result.stdout.strip()}")

    def _wait_for(self, what: str, ready, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                logs = "\n".join(
                    f"{path.name}: {' | '.join(path.read_text(errors='replace').splitlines()[-5:])}"
                    for path in sorted((self.root / "log").glob("*.log"))
                )
                raise RuntimeError(f"waited {seconds:.0f} s for {what}\n{logs}")
            time.sleep(0.1)


def _program(name: str) -> str | None:
    """Path of a daemon; they live in sbin, which is not on every user's PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin")


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _memory_cgroup() -> bool:
    """Whether this process may make cgroups (version 1) that limit memory: root, and the hierarchy is mounted."""
    return all(os.access(f"/sys/fs/cgroup/{name}", os.W_OK) for name in ("memory", "freezer"))


def _with_environment(entry: str) -> list[int]:
    """Processes that were started with this environment variable, except this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if entry.encode() in path.read_bytes().split(b"\0") and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return found


def _remove_cgroup(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # still busy; an empty cgroup costs nothing


def can_isolate() -> bool:
    """Whether this user may make a network namespace (root may, in most containers too)."""
    try:
        return not subprocess.run(["unshare", "--net", "sh", "-c", LOOPBACK], check=False).returncode
    except FileNotFoundError:
        return False


def _end(pid_file: Path) -> None:
    """End the daemon whose pid is in the file: politely, then by force after ten seconds."""
    if not pid_file.exists() or not (text := pid_file.read_text().strip()):
        return
    pid = int(text)
    for number, patience in ((signal.SIGTERM, 100), (signal.SIGKILL, 20)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            break
        for _ in range(patience):
            if not _alive(pid):
                break
            time.sleep(0.1)
    pid_file.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody reaps has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False

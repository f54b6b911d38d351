"""`LocalRunner`: children inside the confinement, stubs first and then the real ffmpeg."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from tests.support.children import (
    MIB,
    ROOT,
    TRANSCODES,
    children,
    confined,
    gone,
    limits,
    names_in,
    other_user,
    reachable_code,
    stub,
    transcode,
    unconfined,
    until,
)  # fmt: skip
from vproc.errors import TransientError, UnavailableError
from vproc.ports import StopReason
from vproc.workers import confinement as confining
from vproc.workers.confinement import LayerRefusedError
from vproc.workers.runners import LocalRunner

RUNNERS = pytest.mark.parametrize("runner", [confined(), unconfined()], ids=["confined", "off"])


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Path]:
    """A directory that nobody, whom `other_user` becomes, owns and may reach."""
    path = Path(subprocess.check_output(["mktemp", "-d", "/tmp/vproc-owned-XXXXXX"], text=True).strip())
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    yield path
    subprocess.run(["rm", "-rf", path], check=True)


@RUNNERS
async def test_a_file_over_its_limit_ends_the_child_with_sigxfsz(runner: LocalRunner, tmp_path: Path) -> None:
    bounds = limits(output_bytes=MIB)
    result = await runner.run(["/bin/dd", "if=/dev/zero", "of=large", "bs=64K"], cwd=tmp_path, limits=bounds)
    assert (result.returncode, result.stopped) == (-signal.SIGXFSZ, None)
    assert (tmp_path / "large").stat().st_size == MIB


@RUNNERS
async def test_cpu_time_over_its_limit_ends_the_child_with_sigxcpu(runner: LocalRunner, tmp_path: Path) -> None:
    result = await runner.run(stub("spin", 60), cwd=tmp_path, limits=limits(cpu_s=1))
    assert result.returncode == -signal.SIGXCPU
    assert 0.5 < result.cpu_s < 1.6, "the kernel counts for this limit by ticks"


@RUNNERS
async def test_memory_over_its_limit_is_not_given(runner: LocalRunner, tmp_path: Path) -> None:
    bounds = limits(memory_bytes=256 * MIB)
    assert (await runner.run(stub("allocate", 64 * MIB), cwd=tmp_path, limits=bounds)).stdout == b"67108864\n"
    refused = await runner.run(stub("allocate", 300 * MIB), cwd=tmp_path, limits=bounds)
    assert (refused.returncode, refused.stderr.split()[-1]) == (1, "MemoryError")


@RUNNERS
async def test_what_a_child_reserves_is_not_what_it_fills(runner: LocalRunner, tmp_path: Path) -> None:
    """Where the two limits differ: address space that nothing is written to is given, memory beyond the other is not."""
    bounds = limits(data_bytes=256 * MIB)
    assert (await runner.run(stub("reserve", 1024 * MIB), cwd=tmp_path, limits=bounds)).stdout == b"1073741824\n"
    assert (await runner.run(stub("allocate", 64 * MIB), cwd=tmp_path, limits=bounds)).stdout == b"67108864\n"
    refused = await runner.run(stub("allocate", 300 * MIB), cwd=tmp_path, limits=bounds)
    assert (refused.returncode, refused.stderr.split()[-1]) == (1, "MemoryError")


@RUNNERS
async def test_a_full_directory_stops_the_child(runner: LocalRunner, tmp_path: Path) -> None:
    result = await runner.run(stub("fill"), cwd=tmp_path, limits=limits(directory_bytes=8 * MIB))
    assert result.stopped is StopReason.DIRECTORY


async def test_a_child_sees_nothing_of_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do not tell")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    leaked = os.dup(1)
    os.set_inheritable(leaked, True)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        result = await unconfined().run(stub("inside"), cwd=tmp_path, limits=limits())
    finally:
        os.close(leaked)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    inside = json.loads(result.stdout)
    here = str(tmp_path)
    assert inside["environ"] == {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": here, "TMPDIR": here}
    assert (inside["cwd"], inside["descriptors"], inside["stdin"]) == (here, [0, 1, 2], "")
    assert inside["pid"] == inside["pgid"] == inside["sid"]
    assert (inside["nice"], inside["oom"]) == (10, "900")
    assert (inside["core"], inside["files"]) == ([0, 0], [256, 256])
    assert inside["processes"] == list(resource.getrlimit(resource.RLIMIT_NPROC)), "never limited: it counts all of the user's"


async def test_a_missing_program_is_unavailable_and_names_its_setting(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"/opt/none/ffprobe is not a program .* VPROC_FFPROBE"):
        await confined().run(["/opt/none/ffprobe"], cwd=tmp_path, limits=limits())
    with pytest.raises(UnavailableError, match=r"ffmpeg-9 is not a program .* VPROC_FFMPEG"):
        await confined().run(["ffmpeg-9"], cwd=tmp_path, limits=limits())


async def test_a_program_that_the_kernel_does_not_take_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "ffmpeg").write_bytes(b"\x7fELF nothing")
    (tmp_path / "ffmpeg").chmod(0o755)
    with pytest.raises(UnavailableError, match=r"the launcher stopped at exec: .*Exec format error"):
        await confined().run([str(tmp_path / "ffmpeg")], cwd=tmp_path, limits=limits())


async def test_a_layer_that_cannot_be_had_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confining, "handled_rights", lambda _: [1 << 60])
    with pytest.raises(LayerRefusedError) as refusal:
        await confined().run(["/usr/bin/touch", "started"], cwd=tmp_path, limits=limits())
    assert refusal.value.step == "landlock"
    assert names_in(tmp_path) == []


async def test_a_child_cannot_pass_for_the_launcher(tmp_path: Path) -> None:
    assert (await confined().run(stub("forge"), cwd=tmp_path, limits=limits())).returncode == 126


@pytest.mark.parametrize("elsewhere", ["bin/tool", "home/tool"])
async def test_a_program_elsewhere_runs_but_shows_no_neighbour(tmp_path: Path, elsewhere: str) -> None:
    program = tmp_path / elsewhere
    (job := tmp_path / "job").mkdir()
    program.parent.mkdir()
    shutil.copy("/bin/cat", program)
    (program.parent / "secret").write_text("do not tell")
    result = await confined().run([str(program), str(program.parent / "secret")], cwd=job, limits=limits())
    assert (result.returncode, result.stdout) == (1, b"")
    assert "Permission denied" in result.stderr


@pytest.mark.parametrize("argument", ["", "-i", "a b", "two\nlines", "é", "\udcff", "$(id)", "'\"\\", "x" * 100_000])
async def test_arguments_arrive_as_they_are(tmp_path: Path, argument: str) -> None:
    result = await confined().run(["/usr/bin/printf", "%s", argument], cwd=tmp_path, limits=limits())
    assert (result.returncode, os.fsdecode(result.stdout)) == (0, argument)


async def test_more_arguments_than_the_kernel_takes_are_an_error_and_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="Argument list too long"):
        await confined().run(["/usr/bin/printf", "x" * 200_000], cwd=tmp_path, limits=limits())


async def test_a_wrapper_script_and_a_link_may_stand_for_ffmpeg(tmp_path: Path) -> None:
    (job := tmp_path / "job").mkdir()
    wrapper = tmp_path / "wrapper"
    wrapper.write_text('#!/bin/sh\nexec ffmpeg "$@"\n')
    wrapper.chmod(0o755)
    (link := tmp_path / "link").symlink_to(wrapper)
    for program in (wrapper, link):
        result = await confined().run([str(program), "-version"], cwd=job, limits=limits())
        assert (result.returncode, result.stdout[:14]) == (0, b"ffmpeg version"), result.stderr


async def test_a_directory_behind_a_link_is_the_jobs_own(tmp_path: Path) -> None:
    (tmp_path / "a real one").mkdir()
    (link := tmp_path / "link").symlink_to("a real one")
    assert (await confined().run(["/bin/mkdir", "made"], cwd=link, limits=limits())).returncode == 0
    assert names_in(tmp_path / "a real one") == ["made"]


async def test_many_at_once_keep_their_lines_apart(tmp_path: Path) -> None:
    heard: dict[int, list[str]] = {number: [] for number in range(8)}

    async def one(number: int) -> None:
        command = ["/bin/sh", "-c", f"for n in 1 2 3 4 5; do echo {number}; done"]
        await confined().run(command, cwd=tmp_path, limits=limits(), on_line=lambda line: heard[number].append(line) is None)

    async with anyio.create_task_group() as group:
        for number in heard:
            group.start_soon(one, number)
    assert heard == {number: [str(number)] * 5 for number in heard}


async def test_a_stopped_child_and_one_killed_by_another_come_to_an_end(tmp_path: Path) -> None:
    """The out-of-memory killer is another: no reason of ours then, and the code says SIGKILL."""
    for number, expected in ((signal.SIGSTOP, StopReason.WALL), (signal.SIGKILL, None)):

        def hit(pid: str, number: signal.Signals = number) -> bool:
            os.kill(int(pid), number)
            return True

        result = await confined().run(stub("hang"), cwd=tmp_path, limits=limits(wall_s=0.5), on_line=hit)
        assert (result.returncode, result.stopped) == (-signal.SIGKILL, expected)


async def test_a_term_to_ffmpeg_is_no_success(tmp_path: Path) -> None:
    """As when systemd signals the whole control group: what it leaves is a valid, short file."""
    command = [
        *("ffmpeg", "-nostdin", "-v", "error", "-progress", "pipe:1", "-re", "-f", "lavfi", "-i", "testsrc2"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-y", f"file:{tmp_path}/out.mp4"),
    ]
    terminated: list[int] = []

    def terminate(line: str) -> bool:
        if line == "progress=continue" and not terminated:
            terminated.extend(children())
            os.killpg(terminated[0], signal.SIGTERM)
        return True

    result = await confined().run(command, cwd=tmp_path, limits=limits(), on_line=terminate)
    assert (result.returncode, result.stopped) == (255, None)


async def test_children_die_with_a_killed_daemon(tmp_path: Path) -> None:
    daemon = await anyio.open_process(
        [sys.executable, "-m", "tests.support.children", "hold", str(tmp_path)], cwd=ROOT, stderr=None
    )
    assert daemon.stdout is not None
    async with daemon:
        pid = int(await daemon.stdout.receive())
        assert not gone(pid)
        daemon.kill()
        assert await until(lambda: gone(pid), within_s=1)


async def test_a_launcher_whose_daemon_died_already_starts_nothing(tmp_path: Path) -> None:
    command = confined().confinement.command(
        ["/usr/bin/touch", "started"], cwd=tmp_path, limits=limits(), parent=os.getpid() + 1, nonce="n"
    )
    done = await anyio.run_process(command, check=False)
    assert (done.returncode, done.stderr) == (126, b"vproc-launcher n parent: ProcessLookupError('the daemon is gone')\n")
    assert names_in(tmp_path) == []


async def test_the_real_ffmpeg_encodes_under_every_layer(tmp_path: Path) -> None:
    assert await transcode(tmp_path) == {"uid": os.geteuid(), "codecs": ["hevc", "aac"]}


async def test_the_real_ffmpeg_encodes_for_an_ordinary_user(owned: Path) -> None:
    done = await anyio.run_process(other_user("transcode", str(owned)), cwd=reachable_code(), check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == {"uid": os.geteuid() or 65534, "codecs": ["hevc", "aac"]}


async def test_while_it_encodes_ffmpeg_is_under_seccomp_and_without_privileges(tmp_path: Path) -> None:
    status: dict[str, str] = {}
    with anyio.CancelScope() as scope:

        def look(_: str) -> bool:
            (pid,) = children()
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            status.update(line.split(":\t", 1) for line in lines if ":\t" in line)
            scope.cancel()
            return True

        await confined().run(
            [
                *("ffmpeg", "-nostdin", "-v", "error", "-progress", "pipe:1", "-re", "-f", "lavfi", "-i", "testsrc2"),
                *("-c:v", "libx264", "-y", f"file:{tmp_path}/out.mp4"),
            ],
            cwd=tmp_path,
            limits=limits(),
            on_line=look,
        )
    assert status["Name"] == "ffmpeg"
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    assert {status[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {""}
    assert os.geteuid() != 0 or status["CapBnd"].strip("0") == ""
    assert children() == []


@asynccontextmanager
async def canary_server() -> AsyncIterator[tuple[int, list[object]]]:
    """A loopback port, and who came to it."""
    visits: list[object] = []

    async def visit(stream: SocketStream) -> None:
        visits.append(stream.extra(SocketAttribute.raw_socket))
        await stream.aclose()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", family=socket.AF_INET)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, visit)
        yield listener.extra(SocketAttribute.local_port), visits
        group.cancel_scope.cancel()


ALL_PROTOCOLS = ("-protocol_whitelist", "file,http,tcp,crypto,data")


async def read_by_ffmpeg(runner: LocalRunner, source: str, cwd: Path) -> tuple[int, str]:
    """Its code and errors on reading a source with every protocol allowed by its own option."""
    command = ["ffmpeg", "-nostdin", "-v", "error", *ALL_PROTOCOLS, "-i", source, "-f", "null", "-"]
    result = await runner.run(command, cwd=cwd, limits=limits())
    return result.returncode, result.stderr


async def test_ffmpeg_reaches_no_server(tmp_path: Path) -> None:
    """The same command without the confinement does, so the canary is awake."""
    async with canary_server() as (port, visits):
        code, errors = await read_by_ffmpeg(confined(), f"http://127.0.0.1:{port}/", tmp_path)
        assert (code, "Operation not permitted" in errors, visits) == (1, True, [])
        playlist = tmp_path / "list.m3u8"
        playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n")
        await read_by_ffmpeg(confined(), f"file:{playlist}", tmp_path)
        assert visits == []
        for source in (f"http://127.0.0.1:{port}/", f"file:{playlist}"):
            before = len(visits)
            await read_by_ffmpeg(unconfined(), source, tmp_path)
            assert len(visits) > before, source


async def test_ffmpeg_reads_no_file_outside_its_directory(tmp_path: Path) -> None:
    """A canary video outside, directly and by a playlist named as a video; without the confinement both are read."""
    (job := tmp_path / "job").mkdir()
    assert (await read_by_ffmpeg(confined(), "file:///etc/passwd", job))[1].strip() == "file:///etc/passwd: Permission denied"
    canary = tmp_path / "canary.mp4"
    made = await confined().run(
        ["ffmpeg", "-nostdin", "-v", "error", *TRANSCODES["h264.mp4"], f"file:{canary}"], cwd=tmp_path, limits=limits()
    )
    assert made.returncode == 0
    disguised = job / "upload.mp4"
    disguised.write_text(f"ffconcat version 1.0\nfile file:{canary}\n")
    for source in (f"file:{canary}", f"file:{disguised}"):
        options = ("-safe", "0") if source.endswith("upload.mp4") else ()
        command = ["ffmpeg", "-nostdin", "-v", "error", *options, "-i", source, "-f", "null", "-"]
        codes = [(await runner.run(command, cwd=job, limits=limits())).returncode for runner in (confined(), unconfined())]
        assert codes == [1, 0], source


def test_a_refusal_is_a_fault_of_the_machine_and_not_of_the_job() -> None:
    assert issubclass(LayerRefusedError, UnavailableError)
    assert issubclass(UnavailableError, TransientError)


# --- devices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("devices", "words"), [((), "Permission denied"), (("/dev/full",), "No space left on device")])
async def test_a_device_answers_only_where_the_confinement_names_it(devices: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """/dev/full answers every write with ENOSPC, once it may be opened."""
    runner = LocalRunner(replace(confined().confinement, devices=devices))
    result = await runner.run(["/bin/dd", "if=/dev/zero", "of=/dev/full", "count=1"], cwd=tmp_path, limits=limits())
    assert result.returncode == 1
    assert words in result.stderr

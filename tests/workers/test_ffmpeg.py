"""Which ffmpeg is chosen, over a runner that plays what each of several builds answers."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from vproc.core.capabilities import REQUIRED_ENCODERS, REQUIRED_FILTERS, REQUIRED_MUXERS
from vproc.core.hardware import HardwareTrial
from vproc.errors import ConfigError, UnavailableError
from vproc.ports import ProcessLimits, ProcessResult
from vproc.workers import ffmpeg as module
from vproc.workers.ffmpeg import (
    HARDWARE_MEMORY_BYTES,
    LONE_PACKAGE,
    PACKAGE,
    PairSource,
    ToolPair,
    announce,
    find_pairs,
    with_trials,
)

REMEDY = "takes the path of one (apt-get install ffmpeg, or pip install 'vproc[ffmpeg]')"


@dataclass
class Build:
    """What the programs of one folder answer. ``failure`` is the exit code, or what is raised, in answer to anything."""

    version: str = "9.0"
    ffprobe_version: str | None = None
    encoders: frozenset[str] = REQUIRED_ENCODERS | {"libx265"}
    failure: int | Exception = 0

    def answer(self, argv: Sequence[str]) -> str:
        if argv[0].endswith("ffprobe"):
            return f"ffprobe version {self.ffprobe_version or self.version} Copyright\n"
        match argv[2]:
            case "-version":
                return f"ffmpeg version {self.version} Copyright\n"
            case "-encoders":
                return "".join(f" V....D {name}   words\n" for name in self.encoders)
            case "-decoders":
                return "".join(f" V....D {name}   words\n" for name in ("h264", "hevc", "aac"))
            case "-filters":
                return "".join(f" TS {name}   V->V   words\n" for name in REQUIRED_FILTERS)
            case "-muxers":
                return "".join(f"  E  {name}   words\n" for name in REQUIRED_MUXERS)
            case _:
                return ""


@dataclass
class Builds:
    """A runner of several builds, by the folder that their programs lie in."""

    by_folder: dict[Path, Build] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def run(
        self, argv: Sequence[str], *, cwd: Path, limits: ProcessLimits, on_line: Callable[[str], bool] | None = None, **_: object
    ) -> ProcessResult:
        self.asked.append(tuple(argv))
        build = self.by_folder[Path(argv[0]).parent]
        if isinstance(build.failure, Exception):
            raise build.failure
        return ProcessResult(build.failure, build.answer(argv).encode(), "", 1.0, 1.0, 1)


class Machine:
    """Folders with programs in them, a PATH of some of these, and a Python package or none."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.runner = Builds()
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("PATH", "/nonexistent")
        monkeypatch.setattr(module, "_carried", lambda: None)
        monkeypatch.setattr(module, "_lone", lambda: None)

    def install(self, folder: str, build: Build, *, names: Sequence[str] = ("ffmpeg", "ffprobe")) -> Path:
        """Programs in a folder of that name; nobody finds them yet."""
        path = self.root / folder
        path.mkdir()
        for name in names:
            (path / name).touch(mode=0o755)
        self.runner.by_folder[path] = build
        return path

    def on_path(self, *folders: Path) -> None:
        self._monkeypatch.setenv("PATH", ":".join(map(str, folders)))

    def carry(self, folder: Path) -> None:
        carried = str(folder / "ffmpeg"), str(folder / "ffprobe")
        self._monkeypatch.setattr(module, "_carried", lambda: carried)

    def carry_alone(self, folder: Path) -> None:
        self._monkeypatch.setattr(module, "_lone", lambda: str(folder / "ffmpeg"))

    async def find(self, ffmpeg: str | Path | None = None, ffprobe: str | Path | None = None) -> tuple[ToolPair, ...]:
        named = [None if program is None else str(program) for program in (ffmpeg, ffprobe)]
        return await find_pairs(named[0], named[1], self.runner, cwd=self.root)

    async def fault(self, ffmpeg: str | Path | None = None, ffprobe: str | Path | None = None) -> str:
        """The one line of the `ConfigError` that it ends with."""
        with pytest.raises(ConfigError) as caught:
            await self.find(ffmpeg, ffprobe)
        (fault,) = caught.value.faults
        return fault


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path.resolve(), monkeypatch)


# --- by itself -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_path", "carried", "order"),
    [
        ("5.1.9-0+deb12u1", "n8.1.2", ["package", "path"]),
        ("9.0.2", "n8.1.2", ["path", "package"]),
        ("N-113007-g8d24a28d06", "n8.1.2", ["path", "package"]),
        ("n8.1.2", "n8.1.2", ["path", "package"]),
        ("10.0", "9.1", ["path", "package"]),
    ],
)
async def test_the_newest_comes_first_and_the_other_stays_at_hand(
    machine: Machine, on_path: str, carried: str, order: list[str]
) -> None:
    machine.on_path(machine.install("bin", Build(on_path)))
    machine.carry(machine.install("package", Build(carried)))
    pairs = await machine.find()
    assert [pair.source.value for pair in pairs] == order
    assert {pair.version for pair in pairs} == {on_path, carried}
    assert all(Path(pair.ffmpeg).parent == Path(pair.ffprobe).parent for pair in pairs)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (Build("9.0", encoders=REQUIRED_ENCODERS - {"libx264"}), r"ffmpeg \(9.0\) lacks the encoder libx264"),
        (Build("9.0", ffprobe_version="8.0"), "ffprobe is 8.0 and .*ffmpeg is 9.0: takes two of one build"),
        (Build("9.0", failure=127), r"does not answer as ffmpeg and ffprobe do \(exit code 127\)"),
        (Build(failure=UnavailableError("Exec format error")), "cannot be run: Exec format error"),
    ],
)
async def test_a_pair_of_no_use_is_passed_over_and_said_so(machine: Machine, build: Build, reason: str) -> None:
    machine.on_path(machine.install("bin", build))
    machine.carry(machine.install("package", Build("8.1")))
    with capture_logs() as logs:
        (pair,) = await machine.find()
    assert (pair.source, pair.version) == (PairSource.PACKAGE, "8.1")
    (passed,) = [entry for entry in logs if entry["event"] == "ffmpeg_passed_over"]
    assert passed["source"] == "path"
    assert re.search(reason, passed["reason"])


async def test_where_all_are_of_no_use_each_reason_is_told(machine: Machine) -> None:
    machine.on_path(machine.install("bin", Build("4.0", encoders=REQUIRED_ENCODERS - {"libx264"})))
    machine.carry(machine.install("package", Build(failure=127)))
    fault = await machine.fault()
    assert "ffmpeg (4.0) lacks the encoder libx264; " in fault
    assert "(exit code 127)" in fault


async def test_without_any_the_remedies_are_named(machine: Machine) -> None:
    assert await machine.fault() == f"VPROC_FFMPEG: no usable ffmpeg with its ffprobe on this machine; {REMEDY}"


async def test_an_ffmpeg_without_its_ffprobe_is_none(machine: Machine) -> None:
    machine.on_path(machine.install("bin", Build(), names=["ffmpeg"]))
    assert "no usable ffmpeg with its ffprobe" in await machine.fault()


async def test_one_that_comes_without_ffprobe_is_the_last_however_new_and_uses_the_firsts(machine: Machine) -> None:
    machine.on_path(machine.install("bin", Build("5.1")))
    machine.carry(machine.install("package", Build("8.1")))
    machine.carry_alone(machine.install("alone", Build("9.0"), names=["ffmpeg"]))
    with capture_logs() as logs:
        pairs = await machine.find()
    assert [pair.version for pair in pairs] == ["8.1", "5.1", "9.0"]
    assert pairs[-1].ffprobe == str(machine.root / "package" / "ffprobe")
    assert logs == [], "that it is mixed is no news"


async def test_one_that_comes_without_ffprobe_and_is_of_no_use_is_passed_over(machine: Machine) -> None:
    machine.on_path(machine.install("bin", Build("5.1")))
    machine.carry_alone(machine.install("alone", Build(failure=127), names=["ffmpeg"]))
    with capture_logs() as logs:
        (pair,) = await machine.find()
    assert pair.version == "5.1"
    assert [entry["source"] for entry in logs] == ["package without ffprobe"]


async def test_what_a_build_can_do_is_known_from_its_answers(machine: Machine) -> None:
    machine.on_path(machine.install("bin", Build("5.1")))
    (pair,) = await machine.find()
    assert pair.capabilities.encoders == REQUIRED_ENCODERS | {"libx265"}
    assert pair.capabilities.codecs == {"h264", "hevc", "aac"}
    with capture_logs() as logs:
        announce([pair])
    (chosen,) = logs
    assert (chosen["event"], chosen["version"], chosen["source"]) == ("ffmpeg_chosen", "5.1", "path")
    assert {"libsvtav1", "a decoder of av1", "libx265 of ten bits"} <= set(chosen["lacks"])


# --- by the settings -------------------------------------------------------------------------------------------------


async def test_what_the_settings_name_is_used_and_nothing_else(machine: Machine) -> None:
    """However new another is."""
    machine.on_path(machine.install("bin", Build("9.0")))
    named = machine.install("named", Build("4.4"))
    (pair,) = await machine.find(named / "ffmpeg", named / "ffprobe")
    assert pair.source is PairSource.SETTING
    assert (pair.ffmpeg, pair.version) == (str(named / "ffmpeg"), "4.4")
    assert {Path(argv[0]).parent for argv in machine.runner.asked} == {named}


@pytest.mark.parametrize("name", ["ffmpeg", "ffprobe"])
async def test_the_other_of_the_two_is_taken_from_beside(machine: Machine, name: str) -> None:
    machine.on_path(machine.install("bin", Build("9.0")))
    named = machine.install("named", Build("7.1"))
    (pair,) = await machine.find(**{name: named / name})
    assert (pair.ffmpeg, pair.ffprobe) == (str(named / "ffmpeg"), str(named / "ffprobe"))


async def test_where_nothing_lies_beside_the_one_on_the_path_must_be_of_the_same_build(machine: Machine) -> None:
    machine.on_path(machine.install("bin", Build("9.0")))
    alone = machine.install("alone", Build("9.0"), names=["ffmpeg"])
    (pair,) = await machine.find(alone / "ffmpeg")
    assert pair.ffprobe == str(machine.root / "bin" / "ffprobe")
    machine.runner.by_folder[alone].version = "7.0"
    assert (await machine.fault(alone / "ffmpeg")).startswith(f"VPROC_FFPROBE: {machine.root}/bin/ffprobe is 9.0 and ")


async def test_two_that_are_named_may_be_of_two_builds_and_that_is_said(machine: Machine) -> None:
    one, other = machine.install("one", Build("9.0")), machine.install("other", Build("8.0"))
    with capture_logs() as logs:
        (pair,) = await machine.find(one / "ffmpeg", other / "ffprobe")
    assert (pair.version, Path(pair.ffprobe).parent) == ("9.0", other)
    assert logs == [{"event": "ffmpeg_pair_mixed", "log_level": "warning", "ffmpeg": "9.0", "ffprobe": "8.0"}]


@pytest.mark.parametrize("name", ["ffmpeg", "ffprobe"])
async def test_a_program_that_is_not_there_is_named_with_its_variable_and_a_remedy(machine: Machine, name: str) -> None:
    machine.on_path(machine.install("bin", Build()))
    fault = await machine.fault(**{name: "/nowhere/x"})
    assert fault == f"VPROC_{name.upper()}: no program '/nowhere/x' on this machine; {REMEDY}"


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (Build(failure=1), "does not answer as ffmpeg and ffprobe do (exit code 1)"),
        (Build(version=""), "does not answer as ffmpeg and ffprobe do (exit code 0)"),
        (Build(failure=UnavailableError("it cannot be started: Exec format error")), "it cannot be started: Exec format error"),
    ],
)
@pytest.mark.parametrize("name", ["ffmpeg", "ffprobe"])
async def test_a_program_that_is_something_else_stops_the_start(machine: Machine, name: str, build: Build, words: str) -> None:
    good, bad = machine.install("good", Build()), machine.install("bad", build)
    named = {"ffmpeg": good / "ffmpeg", "ffprobe": good / "ffprobe"} | {name: bad / name}
    fault = await machine.fault(**named)
    assert fault.startswith(f"VPROC_{name.upper()}: {bad / name} ")
    assert words in fault


async def test_a_build_that_is_named_and_cannot_do_the_work_stops_the_start(machine: Machine) -> None:
    named = machine.install("named", Build("9.0", encoders=REQUIRED_ENCODERS - {"libx264", "aac"}))
    fault = await machine.fault(named / "ffmpeg")
    assert fault == f"VPROC_FFMPEG: {named}/ffmpeg (9.0) lacks the encoder aac, the encoder libx264"


# --- the Python package ----------------------------------------------------------------------------------------------


def test_the_packages_pair_is_found_without_importing_it() -> None:
    """It is installed here, as every test needs it."""
    found = module._carried()
    assert found is not None
    assert [Path(path).name.partition("-")[0] for path in found] == ["ffmpeg", "ffprobe"]
    assert all(shutil.which(path) == path for path in found)
    lone = module._lone()
    assert lone is not None
    assert shutil.which(lone) == lone


@pytest.mark.parametrize(("system", "machine_name"), [("Windows", "AMD64"), ("Linux", "riscv64"), ("FreeBSD", "x86_64")])
def test_on_another_kind_of_machine_it_carries_nothing(system: str, machine_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine_name)
    assert module._carried() is None


def test_where_it_is_not_installed_it_carries_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    assert (module._carried(), module._lone()) == (None, None)
    told = (Path(module.__file__).parents[2] / "pyproject.toml").read_text()
    assert all(name in told for name in (PACKAGE, LONE_PACKAGE))


# --- hardware --------------------------------------------------------------------------------------------------------


@dataclass
class Cards:
    """Encoders of hardware that work here."""

    working: set[str]
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def run(self, argv: Sequence[str], *, cwd: Path, limits: ProcessLimits, **_: object) -> ProcessResult:
        assert limits.memory_bytes == HARDWARE_MEMORY_BYTES
        self.asked.append(tuple(argv))
        works = argv[argv.index("-c:v") + 1] in self.working
        return ProcessResult(0 if works else 1, b"", "" if works else "[x @ 0x1] No device\n", 1.0, 1.0, 1)


async def test_each_hardware_encoder_that_is_asked_for_is_tried_once(tmp_path: Path) -> None:
    listed = REQUIRED_ENCODERS | {"h264_nvenc", "h264_vaapi", "hevc_vaapi"}
    pair = ToolPair("/f", "/p", PairSource.PATH, module.Capabilities("8.0", encoders=listed))
    cards = Cards({"h264_vaapi"})
    tried = await with_trials(pair, ["h264"], cards, cwd=tmp_path)
    assert tried.capabilities.trials == (
        HardwareTrial("h264_nvenc", works=False, reason="No device"), HardwareTrial("h264_vaapi", works=True),
    )  # fmt: skip
    assert [argv[0] for argv in cards.asked] == ["/f", "/f"]
    assert (tried.ffmpeg, tried.version) == ("/f", "8.0")

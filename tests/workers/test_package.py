"""From real encodes to the objects that are published: their bytes, their sums, their links."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import m3u8
import pytest
from mpegdash.parser import MPEGDASHParser

from tests.support.media import FFPROBE, Encoded, clip, encode, encoded, probe
from tests.support.samples import label
from vproc.core.boxes import top_level
from vproc.core.captions import CaptionTrack
from vproc.core.labels import TrackRole
from vproc.core.manifest import OutputKind
from vproc.core.media import CaptionStream, Chapter, OtherStream
from vproc.core.sprite import plan_sprite
from vproc.core.verify import Verdict
from vproc.errors import TransientError
from vproc.ports import FileSlice
from vproc.workers.follow import Track
from vproc.workers.media import Verified
from vproc.workers.package import CutTrack, Item, Package, build_package

RUN = "r1"
METADATA = {"file_id": "f1", "file_name": "ä.mp4", "profile": "any"}


@cache
def packed(name: str, profile: str, *, damaged: bool = False) -> Package:
    """A clip, encoded by a profile and packaged."""
    done = encoded(name, profile)
    probed = {output.rendition: probe(output.path) for output in done.plan.outputs if output.is_media}
    verified = Verified(Verdict(damaged=damaged), probed)
    return build_package(done.plan, done.info, verified, cut(done), run_id=RUN, metadata=METADATA)


def cut(done: Encoded) -> dict[str, CutTrack]:
    """The tracks of an encode that has ended."""
    found = {}
    for output in done.plan.outputs:
        if output.is_track:
            with closing(Track(output, done.plan.grid)) as track:
                track.finish()
                found[output.rendition] = track.cut
    return found


def body(item: Item) -> bytes:
    if isinstance(item.body, FileSlice):
        return item.body.path.read_bytes()[item.body.offset : item.body.offset + item.body.size_bytes]
    return item.body


def boxes(data: bytes) -> list[str]:
    return [box.kind for box in top_level(lambda at, size: data[at : at + size], len(data))]


def items(package: Package) -> dict[str, Item]:
    return {item.path: item for item in package.items}


def entry(package: Package, name: str) -> str:
    """The text of an entry point."""
    return body(items(package)[package.entries[name]]).decode()


def of_kind(package: Package, *kinds: OutputKind) -> list[Item]:
    return [item for item in package.items if item.kind in kinds]


MADE = [
    ("two-tracks.mkv", "abr"), ("silent.mp4", "abr"), ("rest.mp4", "abr"), ("main.mp4", "mp4"), ("live.webm", "h264"),
    ("sound.wav", "audio"), ("wmv2.wmv", "copy"), ("vp8.webm", "copy"), ("main.mp4", "thumbnails"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "profile"), MADE)
def test_every_object_has_the_size_and_the_sum_of_its_bytes(name: str, profile: str) -> None:
    package = packed(name, profile)
    for item in package.items:
        data = body(item)
        assert (item.size_bytes, item.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert data
    paths = [item.path for item in package.items]
    assert len(paths) == len(set(paths))
    assert all(PurePosixPath(path).parts and not path.startswith("/") and ".." not in path for path in paths)


@pytest.mark.parametrize(
    ("name", "profile", "entries"),
    [
        ("main.mp4", "abr", {"master.m3u8", "manifest.mpd", "poster.jpg", "sprite.vtt", "metadata.json"}),
        ("silent.mp4", "abr", {"master.m3u8", "manifest.mpd", "poster.jpg", "sprite.vtt", "metadata.json"}),
        ("main.mp4", "thumbnails", {"poster.jpg", "sprite.vtt", "metadata.json"}),
        ("main.mp4", "mp4", {"metadata.json"}),
        ("sound.wav", "audio", {"metadata.json"}),
    ],
)
def test_each_profile_has_its_entry_points_and_each_is_a_published_object(name: str, profile: str, entries: set[str]) -> None:
    package = packed(name, profile)
    assert set(package.entries) == entries
    assert set(package.entries.values()) <= set(items(package))


@pytest.mark.parametrize("name", ["two-tracks.mkv", "silent.mp4", "rest.mp4"])
def test_header_and_segments_one_after_the_other_are_the_encoded_track(name: str) -> None:
    """All but ffmpeg's own index at its end, which no player asks for."""
    package, done = packed(name, "abr"), encoded(name, "abr")
    for output in done.plan.outputs:
        if not output.is_media:
            continue
        parts = [item for item in of_kind(package, OutputKind.INIT, OutputKind.SEGMENT) if item.facts["name"] == output.rendition]
        folder = output.rendition
        assert [item.path for item in parts] == [
            f"{folder}/init.mp4",
            *(f"{folder}/seg-{number:05}.m4s" for number in range(1, len(parts))),
        ]
        whole, joined = output.path.read_bytes(), b"".join(map(body, parts))
        assert whole.startswith(joined)
        assert boxes(whole[len(joined) :]) == ["mfra"]


def hls_links(package: Package) -> set[str]:
    """Every object that a player reaches from the master playlist, by its path below the file's own prefix."""
    master = m3u8.loads(entry(package, "master.m3u8"))
    playlists = {one.uri for one in (*master.playlists, *master.media, *master.iframe_playlists)}
    found = set(playlists)
    for uri in playlists:
        folder = uri.rpartition("/")[0]
        playlist = m3u8.loads(body(items(package)[uri.removeprefix(f"{RUN}/")]).decode())
        found |= {f"{folder}/{part.uri}" for part in (*playlist.segments, *playlist.segment_map)}
    return found


def dash_links(package: Package) -> set[str]:
    """Likewise from the MPD, by each template and its timeline."""
    found = set()
    for adaptation in MPEGDASHParser.parse(entry(package, "manifest.mpd")).periods[0].adaptation_sets:
        for representation in adaptation.representations:
            (template,) = representation.segment_templates
            count = sum(1 + (run.r or 0) for run in template.segment_timelines[0].Ss)
            numbers = range(template.start_number or 1, (template.start_number or 1) + count)
            found |= {template.initialization, *(template.media.replace("$Number%05d$", f"{number:05}") for number in numbers)}
    return found


@pytest.mark.parametrize("name", ["two-tracks.mkv", "silent.mp4", "rest.mp4"])
def test_every_link_of_hls_and_dash_leads_to_an_object_and_every_object_is_linked(name: str) -> None:
    """Entry points lie at the file's prefix and not at the run's: their links name the run."""
    package = packed(name, "abr")
    media = {f"{RUN}/{item.path}" for item in of_kind(package, OutputKind.INIT, OutputKind.SEGMENT)}
    playlists = {f"{RUN}/{item.path}" for item in of_kind(package, OutputKind.HLS_MEDIA, OutputKind.HLS_IFRAMES)}
    assert hls_links(package) == media | playlists
    assert dash_links(package) == media


def test_a_playlist_tells_the_time_of_what_it_links() -> None:
    """8.1 s in three segments, the rest joined to the last."""
    package = packed("rest.mp4", "abr")
    for item in of_kind(package, OutputKind.HLS_MEDIA):
        playlist = m3u8.loads(body(item).decode())
        assert [part.duration for part in playlist.segments] == pytest.approx([1.0, 1.0, 2.0, 4.1], abs=0.05)
        assert item.facts["duration_s"] == pytest.approx(8.1, abs=0.03)


@pytest.mark.parametrize(("name", "profile"), [("main.mp4", "abr"), ("long.mp4", "thumbnails"), ("live.webm", "abr")])
def test_every_cue_points_into_a_sheet_that_is_published(name: str, profile: str) -> None:
    package = packed(name, profile)
    sheets = {f"{RUN}/{item.path}": item.facts for item in of_kind(package, OutputKind.SPRITE)}
    cues = re.findall(r"^(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)$", entry(package, "sprite.vtt"), re.MULTILINE)
    assert {cue[0] for cue in cues} == set(sheets)
    for uri, *place in cues:
        x, y, width, height = map(int, place)
        assert x + width <= sheets[uri]["width"]
        assert y + height <= sheets[uri]["height"]


def test_a_sheet_that_was_never_filled_is_not_published() -> None:
    """The source was shorter than its bound: only what was written is listed."""
    done = encoded("live.webm", "abr")
    assert done.plan.sprite == plan_sprite(480, 480, None)
    assert [item.path for item in of_kind(packed("live.webm", "abr"), OutputKind.SPRITE)] == ["sprite-001.jpg"]


def test_every_sound_is_told_by_both_manifests_the_main_one_first() -> None:
    package = packed("two-tracks.mkv", "abr")
    told = [(one.language, one.default, one.uri) for one in m3u8.loads(entry(package, "master.m3u8")).media]
    assert told == [("en", "YES", f"{RUN}/audio/playlist.m3u8"), ("de", "NO", f"{RUN}/audio-2/playlist.m3u8")]
    sets = MPEGDASHParser.parse(entry(package, "manifest.mpd")).periods[0].adaptation_sets[1:]
    assert [(one.lang, one.representations[0].id) for one in sets] == [("en", "audio"), ("de", "audio-2")]
    facts = {item.facts["name"]: item.facts["language"] for item in of_kind(package, OutputKind.HLS_MEDIA)}
    assert facts == {"v360": None, "audio": "en", "audio-2": "de"}


def test_the_smallest_two_rungs_can_be_scrubbed() -> None:
    package = packed("hd.mp4", "abr")
    master = m3u8.loads(entry(package, "master.m3u8"))
    assert len(master.playlists) == 3
    assert [one.uri for one in master.iframe_playlists] == [f"{RUN}/v720/iframes.m3u8", f"{RUN}/v360/iframes.m3u8"]
    for item in of_kind(package, OutputKind.HLS_IFRAMES):
        playlist, folder = m3u8.loads(body(item).decode()), item.facts["name"]
        header = body(items(package)[f"{folder}/init.mp4"])
        assert playlist.is_i_frames_only
        for part in playlist.segments:
            length, _, offset = part.byterange.partition("@")
            segment = body(items(package)[f"{folder}/{part.uri}"])
            assert decoded_pictures(header + segment[int(offset) : int(offset) + int(length)]) == ["I"]


def decoded_pictures(data: bytes) -> list[str]:
    """The types of the pictures that a decoder makes of the beginning of a track."""
    argv = [FFPROBE, "-v", "quiet", "-show_entries", "frame=pict_type", "-of", "csv=p=0", "-i", "pipe:0"]
    return subprocess.run(argv, input=data, check=True, capture_output=True).stdout.decode().replace(",", "").split()


def captions(folder: Path) -> tuple[CaptionTrack, ...]:
    """Two tracks, as `workers.captions` leaves them."""
    streams = [
        CaptionStream(2, "subrip", label("eng", title="Full <b>")),
        CaptionStream(None, "eia_608", label(None, TrackRole.HEARING_IMPAIRED)),
    ]
    tracks = []
    for name, stream in zip(("captions", "captions-2"), streams, strict=True):
        path = folder / f"{name}.vtt"
        path.write_text(f"WEBVTT\n\n00:00:00.500 --> 00:00:01.500\n{name}\n")
        tracks.append(CaptionTrack(name, stream, path))
    return tuple(tracks)


def packed_with(profile: str, folder: Path, **changes: Any) -> Package:
    """A short film with two captions, of a source that was probed so."""
    done = encoded("short.mp4", profile)
    probed = {output.rendition: probe(output.path) for output in done.plan.outputs if output.is_media}
    info = replace(done.info, **changes)
    verified = Verified(Verdict(), probed)
    return build_package(done.plan, info, verified, cut(done), run_id=RUN, metadata=METADATA, captions=captions(folder))


def test_captions_are_linked_by_both_manifests(tmp_path: Path) -> None:
    package = packed_with("abr", tmp_path)
    master = m3u8.loads(entry(package, "master.m3u8"))
    texts = [one for one in master.media if one.type == "SUBTITLES"]
    assert [(one.name, one.language, one.uri) for one in texts] == [
        ("Full <b>", "en", f"{RUN}/captions/playlist.m3u8"),
        ("captions", None, f"{RUN}/captions-2/playlist.m3u8"),
    ]
    assert {one.stream_info.subtitles for one in master.playlists} == {"captions"}
    sets = [
        one
        for one in MPEGDASHParser.parse(entry(package, "manifest.mpd")).periods[0].adaptation_sets
        if one.content_type == "text"
    ]
    linked = [one.representations[0].base_urls[0].base_url_value for one in sets]
    assert linked == [f"{RUN}/captions/captions.vtt", f"{RUN}/captions-2/captions.vtt"]
    for name in ("captions", "captions-2"):
        file = items(package)[f"{name}/captions.vtt"]
        assert (file.kind, file.content_type) == (OutputKind.CAPTIONS, "text/vtt; charset=utf-8")
        assert name in body(file).decode()
        (part,) = m3u8.loads(body(items(package)[f"{name}/playlist.m3u8"]).decode()).segments
        assert (part.uri, part.duration) == ("captions.vtt", pytest.approx(2.0, abs=0.05))


def test_a_progressive_file_has_its_captions_beside_it(tmp_path: Path) -> None:
    package = packed_with("mp4", tmp_path)
    assert [item.path for item in of_kind(package, OutputKind.CAPTIONS)] == ["captions/captions.vtt", "captions-2/captions.vtt"]
    assert not of_kind(package, OutputKind.HLS, OutputKind.DASH, OutputKind.HLS_MEDIA)
    told = json.loads(entry(package, "metadata.json"))["renditions"]
    assert {"kind": "captions", "language": "en", "title": "Full <b>"}.items() <= told[1].items()


def test_chapters_are_an_entry_point_and_told(tmp_path: Path) -> None:
    chapters = (Chapter(0.0, 1.0, "One & all"), Chapter(1.0, 2.0))
    package = packed_with("abr", tmp_path, chapters=chapters)
    assert entry(package, "chapters.vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nOne &amp; all\n\n00:00:01.000 --> 00:00:02.000\nChapter 2\n"
    )
    told = json.loads(entry(package, "metadata.json"))["source"]
    assert told["chapters"] == [{"start_s": 0.0, "end_s": 1.0, "title": "One & all"}, {"start_s": 1.0, "end_s": 2.0}]
    assert "chapters.vtt" not in packed("main.mp4", "thumbnails").entries


def test_subtitles_that_became_no_captions_are_told(tmp_path: Path) -> None:
    texts = tuple(track.stream for track in captions(tmp_path))
    empty, disc = CaptionStream(4, "ass", label("fra")), OtherStream(5, "subtitle", "hdmv_pgs_subtitle")
    told = packed_with("abr", tmp_path, captions=(*texts[:1], empty), others=(disc, OtherStream(6, "data", None)))
    source = json.loads(entry(told, "metadata.json"))["source"]
    assert [one["codec"] for one in source["captions"]] == ["subrip", "ass"]
    assert source["left_out"] == [
        {"kind": "subtitles", "index": 4, "codec": "ass"},
        {"kind": "subtitles", "index": 5, "codec": "hdmv_pgs_subtitle"},
    ]
    assert "left_out" not in json.loads(entry(packed_with("abr", tmp_path), "metadata.json"))["source"]


def test_playlists_that_do_not_hold_together_are_not_published(tmp_path: Path) -> None:
    done = encoded("short.mp4", "abr")
    tracks = cut(done)
    name, track = next(iter(tracks.items()))
    broken = tracks | {name: replace(track, items=track.items[:-1])}
    with pytest.raises(TransientError, match="which is not there") as caught:
        build_package(done.plan, done.info, Verified(Verdict(), {}), broken, run_id=RUN, metadata=METADATA)
    assert caught.value.code == "output_invalid"


def test_a_silent_film_has_no_sound_in_its_manifests() -> None:
    package = packed("silent.mp4", "abr")
    master = m3u8.loads(entry(package, "master.m3u8"))
    assert (len(master.media), [variant.stream_info.audio for variant in master.playlists]) == (0, [None])
    assert len(MPEGDASHParser.parse(entry(package, "manifest.mpd")).periods[0].adaptation_sets) == 1


@pytest.mark.parametrize(
    ("name", "profile", "types"),
    [
        (
            "main.mp4",
            "abr",
            {
                "v720/init.mp4": "video/mp4",
                "v360/seg-00001.m4s": "video/mp4",
                "audio/init.mp4": "audio/mp4",
                "audio/seg-00001.m4s": "audio/mp4",
                "audio/playlist.m3u8": "application/vnd.apple.mpegurl",
                "entry/master.m3u8": "application/vnd.apple.mpegurl",
                "entry/manifest.mpd": "application/dash+xml",
                "poster.jpg": "image/jpeg",
                "sprite-001.jpg": "image/jpeg",
                "entry/sprite.vtt": "text/vtt; charset=utf-8",
                "entry/metadata.json": "application/json",
            },
        ),
        ("main.mp4", "mp4", {"v720.mp4": "video/mp4"}),
        ("sound.wav", "audio", {"audio.m4a": "audio/mp4"}),
        ("sound.mp3", "copy", {"copy.mp4": "audio/mp4"}),
        ("vp8.webm", "copy", {"copy.webm": "video/webm"}),
        ("wmv2.wmv", "copy", {"copy.mkv": "video/x-matroska"}),
        ("sound.wav", "copy", {"copy.mkv": "audio/x-matroska"}),
    ],
)
def test_each_object_says_what_it_is(name: str, profile: str, types: dict[str, str]) -> None:
    found = {path: item.content_type for path, item in items(packed(name, profile)).items()}
    assert types.items() <= found.items()


@pytest.mark.parametrize(
    ("name", "profile", "seconds"),
    [("main.mp4", "mp4", 6.0), ("live.webm", "h264", 2.0), ("sound.wav", "audio", 3.0), ("wmv2.wmv", "copy", 2.0)],
)
def test_a_files_length_and_rate_are_its_own_whatever_the_source_declares(name: str, profile: str, seconds: float) -> None:
    """A browser's recording declares none, and Windows Media none for each stream."""
    for item in of_kind(packed(name, profile), OutputKind.VIDEO, OutputKind.AUDIO):
        facts = item.facts
        assert facts["duration_s"] == pytest.approx(seconds, abs=0.1)
        assert facts["bitrate_bps"] == pytest.approx(item.size_bytes * 8 / facts["duration_s"], rel=0.001)


def test_a_rendition_tells_its_codec_its_size_and_its_rate() -> None:
    facts = {item.facts["name"]: item.facts for item in of_kind(packed("main.mp4", "abr"), OutputKind.HLS_MEDIA)}
    assert list(facts) == ["v720", "v360", "audio"]
    assert (facts["v720"]["codec"], facts["v720"]["width"], facts["v720"]["height"]) == ("h264", 1280, 720)
    assert (facts["audio"]["codec"], facts["audio"]["width"]) == ("aac", None)
    assert facts["v720"]["bitrate_bps"] > facts["v360"]["bitrate_bps"] > 0
    assert all(fact["duration_s"] == pytest.approx(6.0, abs=0.05) for fact in facts.values())


def metadata(name: str, profile: str, **changes: bool) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(entry(packed(name, profile, **changes), "metadata.json"))
    return found


def test_the_metadata_say_what_came_and_what_became_of_it() -> None:
    found = metadata("two-tracks.mkv", "abr")
    assert {name: found[name] for name in METADATA} == METADATA
    assert found["damaged"] is False
    assert found["source"]["container"] == "matroska"
    assert found["source"]["bytes"] == clip("two-tracks.mkv").stat().st_size
    assert found["source"]["video"] == {"codec": "h264", "width": 640, "height": 360, "fps": 30.0, "pix_fmt": "yuv420p"}
    assert found["source"]["audio"] == {
        "codec": "aac", "channels": 2, "sample_rate": 48000, "language": "eng", "default": True,
    }  # fmt: skip
    assert [track["language"] for track in found["source"]["audio_tracks"]] == ["deu", "eng"]
    package = packed("two-tracks.mkv", "abr")
    assert [part["path"] for part in found["renditions"]] == [
        f"{RUN}/v360/playlist.m3u8",
        f"{RUN}/audio/playlist.m3u8",
        f"{RUN}/audio-2/playlist.m3u8",
    ]
    assert all(part["bytes"] == items(package)[part["path"].removeprefix(f"{RUN}/")].size_bytes for part in found["renditions"])
    assert metadata("two-tracks.mkv", "abr", damaged=True)["damaged"] is True


def test_the_metadata_leave_out_what_there_is_not() -> None:
    sound = metadata("sound.wav", "audio")
    assert "video" not in sound["source"]
    (rendition,) = sound["renditions"]
    assert (rendition["path"], rendition["codec"], "width" in rendition) == (f"{RUN}/audio.m4a", "aac", False)
    assert "audio" not in metadata("silent.mp4", "abr")["source"]
    assert "duration_s" not in metadata("live.webm", "h264")["source"]


def test_a_track_that_ffmpeg_left_without_a_segment_is_an_invalid_output(tmp_path: Path) -> None:
    done = encode(clip("silent.mp4"), "abr", tmp_path)
    path = done.path("v360")
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(TransientError) as caught:
        cut(done)
    assert caught.value.code == "output_invalid"

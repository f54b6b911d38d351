"""How a sound track becomes AAC: filters, channels, rate, and what its file tells of it. Text for `core.command`.

Mono stays mono. What has more channels than are kept is mixed down by ITU-R BS.775: centre and surrounds 3 dB lower, without the
low-frequency effects, which stereo loudspeakers would turn into rumble. The sum of full channels is up to 7.7 dB too loud: a
limiter takes the peaks off, since turning everything down makes speech too soft.
"""

from __future__ import annotations

from collections.abc import Sequence

from vproc.core.media import AudioStream

_AAC_RATES = (44100, 48000)
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
_MOST_PLACED = 8
"""Layouts of more channels have no names that every ffmpeg knows: the first two of them are the stereo mix, by custom."""

# Sound begins with the picture (silence before a late start) and gaps in its timestamps stay gaps.
_IN_TIME = "aresample=async=1:first_pts=0"
# 0.9 of full scale: AAC overshoots by some tenths of a decibel. Without `latency` the limiter is 5 ms late.
_LIMIT = "alimiter=limit=0.9:level=0:latency=1"


def kept_channels(track: AudioStream, most: int) -> int:
    """How many channels are left of a track where ``most`` are wanted."""
    return max(count for count in _LAYOUTS if count <= max(1, min(track.channels, most)))


def sound_options(tracks: Sequence[AudioStream], *, bitrate_bps: int, most_channels: int) -> list[str]:
    """Options of one output file with these tracks in this order, the first to be played unasked. ``bitrate_bps``: of mono or
    stereo; 5.1 takes three times as much."""
    options = [word for track in tracks for word in ("-map", f"0:{track.index}")]
    for number, track in enumerate(tracks):
        this = f":{number}" if len(tracks) > 1 else ""
        kept = kept_channels(track, most_channels)
        options += [f"-filter:a{this}", _chain(track, kept), f"-c:a{this}", "aac"]
        options += [f"-b:a{this}", str(bitrate_bps * max(2, kept) // 2), f"-ac:a{this}", str(kept)]
        if track.sample_rate not in _AAC_RATES:
            # What every player takes; the rest is resampled.
            options += [f"-ar:a{this}", str(_AAC_RATES[-1])]
        options += told_of(track, number, is_one_of_many=len(tracks) > 1)
    return options


def told_of(track: AudioStream, number: int, *, is_one_of_many: bool) -> list[str]:
    """What a file tells of its track ``number``: language and purpose, in ffmpeg's own words. Its title is the maker's: it goes
    into no command line."""
    options = [f"-metadata:s:a:{number}", f"language={track.language}"] if track.language else []
    if not is_one_of_many:
        return options
    flags = [*(["default"] if number == 0 else []), *sorted(role.value for role in track.label.roles)]
    return [*options, f"-disposition:a:{number}", "+".join(flags) or "0"]


def _chain(track: AudioStream, kept: int) -> str:
    if kept == track.channels:
        return _IN_TIME
    if track.channels > _MOST_PLACED:
        return f"pan=stereo|c0=c0|c1=c1,{_IN_TIME}"
    return f"{_IN_TIME},aformat=channel_layouts={_LAYOUTS[kept]},{_LIMIT}"

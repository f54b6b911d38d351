"""High dynamic range and wide colours brought to BT.709 SDR, as the text of a 3D LUT for ffmpeg's ``lut3d`` filter.

Pure arithmetic over the standards. Which source takes which table: `core.colour`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from math import exp

REFERENCE_WHITE_NITS = 203.0
"""HDR's reference white (ITU-R BT.2408): here the most that the SDR picture shows, as its own white."""
DEFAULT_PEAK_NITS = 1000
"""What most HDR is graded for, and what HLG is displayed at (BT.2100)."""
_PQ_NITS = 10_000

_POINTS = 33
"""Nodes on a side: half an 8-bit step from the exact curve on greys. 65 take ten times as long and leave the cache."""
_CURVE_POINTS = 4096
_SDR_GAMMA = 2.4
"""BT.1886: what an SDR display makes of the signal."""

# SMPTE ST 2084
_M1, _M2 = 2610 / 16384, 2523 / 32
_C1, _C2, _C3 = 3424 / 4096, 2413 / 128, 2392 / 128

# HLG (BT.2100), its OOTF's gamma at 1000 nits
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA = 1.2


class Transfer(StrEnum):
    """How a signal stands for light, by ffmpeg's names."""

    PQ = "smpte2084"
    HLG = "arib-std-b67"
    SDR = "bt709"


class Gamut(StrEnum):
    """Primaries, by ffmpeg's names."""

    BT2020 = "bt2020"
    P3 = "smpte432"
    BT709 = "bt709"


# Linear light to BT.709's primaries, row by row, worked out from the chromaticities; all have the white D65.
_TO_BT709 = {
    Gamut.BT2020: (1.660491, -0.587641, -0.072850, -0.124550, 1.132900, -0.008349, -0.018151, -0.100579, 1.118730),
    Gamut.P3: (1.224940, -0.224940, 0.0, -0.042057, 1.042057, 0.0, -0.019638, -0.078636, 1.098274),
    Gamut.BT709: (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
}
_LUMA_BT709 = (0.212639, 0.715169, 0.072192)
_LUMA_BT2020 = (0.2627, 0.6780, 0.0593)


@dataclass(frozen=True, slots=True)
class ToneMap:
    """From what to BT.709 SDR. ``peak_nits`` is the source's brightest; of meaning for PQ alone."""

    transfer: Transfer
    gamut: Gamut
    peak_nits: int = DEFAULT_PEAK_NITS

    def cube(self) -> bytes:
        """The whole .cube file (red fastest), from the source's non-linear RGB to BT.709's, both of 0 to 1.

        Takes about 150 ms of Python when first asked for; the last few are kept. A colour of BT.709 that is darker than the
        roll-off's knee stays that colour.
        """
        return _cube(self)


@lru_cache(maxsize=8)
def _cube(tone: ToneMap) -> bytes:
    light = [_light(tone.transfer, step / (_POINTS - 1)) for step in range(_POINTS)]
    is_scene = tone.transfer is Transfer.HLG
    widest = _widest_nits(tone) / REFERENCE_WHITE_NITS
    curve = _curve(tone)
    (xr, xg, xb, yr, yg, yb, zr, zg, zb), (lr, lg, lb) = _TO_BT709[tone.gamut], _LUMA_BT709
    lines = [f"LUT_3D_SIZE {_POINTS}"]
    for b in light:
        for g in light:
            for r in light:
                red, green, blue = xr * r + xg * g + xb * b, yr * r + yg * g + yb * b, zr * r + zg * g + zb * b
                least = min(red, green, blue)
                if least < 0:
                    # Outside BT.709: towards the grey of the same luminance, which keeps the hue.
                    luma = lr * red + lg * green + lb * blue
                    share = luma / (luma - least)
                    red, green, blue = luma + share * (red - luma), luma + share * (green - luma), luma + share * (blue - luma)
                gain = _ootf_gain(r, g, b) if is_scene else 1.0
                most = max(red, green, blue) * gain
                # One factor for all three keeps hue and saturation: the brightest is what meets the display's limit.
                gain *= curve[round((most / widest) ** 0.5 * _CURVE_POINTS)] if most < widest else 1 / most
                lines.append(f"{_signal(red * gain)} {_signal(green * gain)} {_signal(blue * gain)}")
    return "\n".join([*lines, ""]).encode()


def _light(transfer: Transfer, signal: float) -> float:
    """Linear light, 1 being the reference white. Of HLG the scene's, of 0 to 1: its display's takes all three channels."""
    if transfer is Transfer.PQ:
        return pq_nits(signal) / REFERENCE_WHITE_NITS
    if transfer is Transfer.HLG:
        return signal * signal / 3 if signal <= 0.5 else (exp((signal - _HLG_C) / _HLG_A) + _HLG_B) / 12  # noqa: PLR2004 - BT.2100
    return float(signal**_SDR_GAMMA)


def _ootf_gain(red: float, green: float, blue: float) -> float:
    """From HLG's scene to its display of 1000 nits: a factor by the scene's luminance."""
    lr, lg, lb = _LUMA_BT2020
    luma = lr * red + lg * green + lb * blue
    return float(DEFAULT_PEAK_NITS / REFERENCE_WHITE_NITS * luma ** (_HLG_GAMMA - 1))


def _widest_nits(tone: ToneMap) -> float:
    """The light of the source's full signal, which the roll-off starts from."""
    if tone.transfer is Transfer.SDR:
        return REFERENCE_WHITE_NITS
    return max(tone.peak_nits if tone.transfer is Transfer.PQ else DEFAULT_PEAK_NITS, REFERENCE_WHITE_NITS)


def _curve(tone: ToneMap) -> list[float]:
    """The roll-off as a factor of light, at ``widest * (i / n)²``: BT.2390's, from the source's peak to the reference white."""
    widest = _widest_nits(tone)
    source = pq_signal(widest)
    most = pq_signal(REFERENCE_WHITE_NITS) / source
    curve = [1.0]
    for step in range(1, _CURVE_POINTS + 1):
        nits = widest * (step / _CURVE_POINTS) ** 2
        curve.append(pq_nits(roll_off(pq_signal(nits) / source, most) * source) / nits)
    return curve


def roll_off(signal: float, most: float) -> float:
    """BT.2390's EETF: a PQ signal relative to the source's peak, so that 1 becomes ``most``. Straight up to the knee, a Hermite
    spline from there."""
    knee = 1.5 * most - 0.5
    if signal <= knee or most >= 1:
        return signal
    t = (signal - knee) / (1 - knee)
    return (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most


def pq_nits(signal: float) -> float:
    """The light that a PQ signal of 0 to 1 stands for (SMPTE ST 2084)."""
    power = signal ** (1 / _M2)
    return float(_PQ_NITS * (max(power - _C1, 0.0) / (_C2 - _C3 * power)) ** (1 / _M1))


def pq_signal(nits: float) -> float:
    """The inverse of `pq_nits`."""
    power = (nits / _PQ_NITS) ** _M1
    return float(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _signal(light: float) -> str:
    return f"{min(max(light, 0.0), 1.0) ** (1 / _SDR_GAMMA):.4f}"

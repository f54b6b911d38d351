"""The table from HDR and wide colours to BT.709 SDR, held against the standards' own figures."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.tonemap import DEFAULT_PEAK_NITS, REFERENCE_WHITE_NITS, Gamut, ToneMap, Transfer, pq_nits, pq_signal, roll_off

PQ, HLG, SDR = (ToneMap(transfer, Gamut.BT2020) for transfer in Transfer)
POINTS = 33
# ITU-R BT.2087, table 2: BT.709 to BT.2020, linear light.
TO_BT2020 = ((0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956))
LUMA = (0.2126, 0.7152, 0.0722)

Colour = tuple[float, float, float]
SHARE = st.floats(0.0, 1.0)


@cache
def table(tone: ToneMap) -> list[Colour]:
    head, *lines = tone.cube().decode().splitlines()
    assert head == f"LUT_3D_SIZE {POINTS}"
    assert len(lines) == POINTS**3
    return [(float(r), float(g), float(b)) for r, g, b in (line.split() for line in lines)]


def at(tone: ToneMap, red: int, green: int, blue: int) -> Colour:
    return table(tone)[red + POINTS * green + POINTS**2 * blue]


def grey(tone: ToneMap, signal: float) -> float:
    """What ffmpeg makes of a grey, by interpolation between two nodes."""
    place = signal * (POINTS - 1)
    below = min(int(place), POINTS - 2)
    low, high = at(tone, below, below, below)[1], at(tone, below + 1, below + 1, below + 1)[1]
    return low + (high - low) * (place - below)


def light(colour: Colour) -> Colour:
    red, green, blue = (value**2.4 for value in colour)
    return red, green, blue


@pytest.mark.parametrize(("nits", "signal"), [(0.0, 0.0), (1, 0.1499), (100, 0.5081), (203, 0.5807), (1000, 0.7518), (10_000, 1)])
def test_pq_is_that_of_st_2084(nits: float, signal: float) -> None:
    assert pq_signal(nits) == pytest.approx(signal, abs=5e-5)
    assert pq_nits(pq_signal(nits)) == pytest.approx(nits, abs=1e-6)


@given(SHARE, SHARE, st.floats(0.3, 1.0))
def test_the_roll_off_keeps_the_order_and_ends_where_it_should(one: float, other: float, most: float) -> None:
    low, high = sorted((one, other))
    assert roll_off(low, most) <= roll_off(high, most) + 1e-12
    assert roll_off(1.0, most) == pytest.approx(most)
    assert roll_off(low, most) <= low + 1e-12


@given(SHARE)
def test_what_the_display_reaches_is_not_rolled_off(signal: float) -> None:
    assert roll_off(signal, 1.0) == signal
    assert roll_off(signal * 0.55, 0.7) == signal * 0.55


@pytest.mark.parametrize("tone", [PQ, HLG, SDR, ToneMap(Transfer.PQ, Gamut.P3, 4000), ToneMap(Transfer.SDR, Gamut.P3)])
def test_black_is_black_white_is_white_and_greys_are_grey_and_rise(tone: ToneMap) -> None:
    greys = [at(tone, place, place, place) for place in range(POINTS)]
    assert greys[0] == (0, 0, 0)
    assert greys[-1] == pytest.approx((1, 1, 1), abs=1e-3)
    for colour in greys:
        assert max(colour) - min(colour) <= 2e-3
    assert [colour[1] for colour in greys] == sorted(colour[1] for colour in greys)


def test_red_runs_fastest_as_the_cube_format_has_it() -> None:
    assert at(PQ, 20, 4, 4)[0] > at(PQ, 4, 20, 4)[0]
    assert at(PQ, 4, 4, 20)[2] > at(PQ, 4, 20, 4)[2]


@pytest.mark.parametrize(
    ("nits", "signal"),
    # BT.2390 from 1000 to 203 cd/m², then BT.1886: worked out apart.
    [(0.1, 0.042), (1, 0.109), (10, 0.285), (50, 0.558), (100, 0.743), (203, 0.903), (400, 0.980), (1000, 1.0)],
)
def test_greys_of_a_film_of_a_thousand_nits(nits: float, signal: float) -> None:
    assert grey(PQ, pq_signal(nits)) == pytest.approx(signal, abs=0.003)


def test_the_reference_white_is_the_same_in_both_curves() -> None:
    """BT.2408: three quarters of HLG and 58 % of PQ are the same 203 cd/m²."""
    assert grey(HLG, 0.75) == pytest.approx(grey(PQ, pq_signal(REFERENCE_WHITE_NITS)), abs=0.003)


def test_a_brighter_master_leaves_less_light_for_the_same_grey() -> None:
    peaks = [203, 400, DEFAULT_PEAK_NITS, 4000, 10_000]
    shown = [grey(ToneMap(Transfer.PQ, Gamut.BT2020, peak), pq_signal(150)) for peak in peaks]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] == pytest.approx((150 / 203) ** (1 / 2.4), abs=0.003)
    assert shown[-1] > 0.7


def test_a_film_that_is_no_brighter_than_the_reference_white_is_only_converted() -> None:
    for nits in (5, 50, 120, 150):
        expected = (nits / REFERENCE_WHITE_NITS) ** (1 / 2.4)
        assert grey(ToneMap(Transfer.PQ, Gamut.BT2020, 100), pq_signal(nits)) == pytest.approx(expected, abs=0.004)


def test_dark_colours_of_bt709_come_out_as_they_were() -> None:
    """Back through BT.2087 and ST 2084 each node within BT.709 is where it was."""
    tried = 0
    for red in range(2, 14, 2):
        for green in range(2, 14, 2):
            for blue in range(2, 14, 2):
                colour = at(PQ, red, green, blue)
                if min(colour) < 0.02:
                    continue
                tried += 1
                linear = light(colour)
                for row, place in zip(TO_BT2020, (red, green, blue), strict=True):
                    nits = REFERENCE_WHITE_NITS * sum(weight * value for weight, value in zip(row, linear, strict=True))
                    assert pq_signal(nits) == pytest.approx(place / (POINTS - 1), abs=0.004)
    assert tried > 50


@pytest.mark.parametrize("node", [(6, 20, 6), (22, 3, 3), (2, 2, 24), (3, 21, 21), (30, 2, 2), (32, 32, 0)])
def test_a_colour_outside_bt709_keeps_its_hue(node: tuple[int, int, int]) -> None:
    """It moves on a straight line towards the grey of its luminance, and is dimmed: the differences keep their proportions."""
    from_2020 = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))
    source = [pq_nits(place / (POINTS - 1)) for place in node]
    wide = [sum(weight * value for weight, value in zip(row, source, strict=True)) for row in from_2020]
    assert min(wide) < 0
    before, after = (differences(colour) for colour in (wide, light(at(PQ, *node))))
    assert max(after) > 0
    assert [value / max(before) for value in before] == pytest.approx([value / max(after) for value in after], abs=0.02)


def differences(colour: list[float] | Colour) -> list[float]:
    luma = sum(weight * value for weight, value in zip(LUMA, colour, strict=True))
    return [value - luma for value in colour]


@pytest.mark.parametrize("tone", [PQ, HLG, SDR])
def test_every_entry_is_a_signal(tone: ToneMap) -> None:
    assert all(0 <= value <= 1 for colour in table(tone) for value in colour)


def test_wide_sdr_is_only_converted() -> None:
    for place in range(POINTS):
        assert at(SDR, place, place, place)[1] == pytest.approx(place / (POINTS - 1), abs=2e-3)
    assert at(ToneMap(Transfer.SDR, Gamut.BT709), 5, 17, 30) == pytest.approx((5 / 32, 17 / 32, 30 / 32), abs=1e-4)


def test_a_table_is_made_once() -> None:
    assert ToneMap(Transfer.PQ, Gamut.BT2020, 700).cube() is ToneMap(Transfer.PQ, Gamut.BT2020, 700).cube()

// What a finished video is, as a person reads it. Fetched with the first that is opened.

// 65 → "1:05", 3725 → "1:02:05".
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const two = (value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export const lasted = (seconds) => (seconds < 90 ? `${seconds.toFixed(1)} s` : `${clock(seconds)} min`);

const CODECS = { h264: "H.264", hevc: "HEVC", av1: "AV1", vp9: "VP9", aac: "AAC", opus: "Opus", mp3: "MP3", prores: "ProRes" };
export const codec = (name) => (name ? (CODECS[name] ?? name) : "");

export const rate = (bps) => (bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bps / 1000)} kbit/s`);

// As people name a picture's size: by the shorter side.
export const rung = ({ width, height }) => (width && height ? `${Math.min(width, height)}p` : "");

// Plays one presentation as a viewer would: start, look at the picture, seek, use every rung, watch the end.
// Returns what was seen; what should have been seen is the caller's to say (tests/support/browser.py).

const video = document.querySelector("video");
const canvas = new OffscreenCanvas(64, 36);
const picture = canvas.getContext("2d", { willReadFrequently: true });

// A busy machine stalls a player now and then; that is counted, and is no error of the presentation.
const STALLS = new Set(["bufferStalledError", "bufferNudgeOnStall"]);

const errors = [];
const stalls = [];

class Stuck extends Error {}

async function until(holds, what, within_s = 30) {
  const end = performance.now() + within_s * 1000;
  while (!holds()) {
    if (errors.length > 0) throw new Stuck(`${what}: given up`);
    if (video.error) throw new Stuck(`${what}: media error ${video.error.code} ${video.error.message}`);
    if (performance.now() > end) {
      throw new Stuck(
        `${what}: not within ${within_s} s (at ${video.currentTime.toFixed(2)} of ${video.duration} s, readyState ` +
          `${video.readyState}, paused ${video.paused}, ${video.videoWidth}x${video.videoHeight})`,
      );
    }
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
}

const frames = () => {
  const quality = video.getVideoPlaybackQuality();
  return quality.totalVideoFrames - quality.droppedVideoFrames;
};

// How bright the brightest of 64 x 36 pixels is, and how many grey levels there are: a black or a green screen has one.
function look() {
  picture.drawImage(video, 0, 0, canvas.width, canvas.height);
  const { data } = picture.getImageData(0, 0, canvas.width, canvas.height);
  const levels = new Set();
  for (let i = 0; i < data.length; i += 4) {
    levels.add(Math.round(0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]));
  }
  return { brightest: Math.max(...levels), grey_levels: levels.size };
}

// What a viewer reads just now.
const caption = () =>
  [...video.textTracks].flatMap((track) => [...(track.activeCues ?? [])].map((cue) => cue.text)).find(Boolean) ?? null;

// Plays on from a position until `length_s` later; returns the most that was seen on the way.
async function playFrom(position_s, length_s, what) {
  const first = frames();
  video.currentTime = position_s;
  await until(() => !video.seeking && video.readyState >= 3, `${what}: seek to ${position_s.toFixed(2)} s`);
  await video.play();
  let best = look();
  await until(() => {
    const seen = look();
    if (seen.grey_levels > best.grey_levels) best = seen;
    return video.currentTime >= position_s + length_s || video.ended;
  }, `${what}: play ${length_s.toFixed(2)} s`);
  await until(() => frames() > first, `${what}: a decoded frame`);
  return best;
}

async function withHls(url) {
  const hls = new Hls({ enableWorker: true });
  hls.on(Hls.Events.ERROR, (_, data) => {
    if (STALLS.has(data.details)) stalls.push(data.details);
    else errors.push(`hls.js: ${data.type} ${data.details} ${data.error?.message ?? ""} ${data.url ?? ""}`);
  });
  const parsed = new Promise((resolve) => hls.on(Hls.Events.MANIFEST_PARSED, resolve));
  hls.attachMedia(video);
  hls.loadSource(url);
  return {
    ready: parsed,
    rungs: () =>
      hls.levels.map((level, index) => ({
        index,
        width: level.width,
        height: level.height,
        bitrate_bps: level.bitrate,
        codecs: [level.videoCodec, level.audioCodec].filter(Boolean).join(","),
      })),
    choose: (rung) => {
      hls.currentLevel = rung.index;
    },
    subtitles: () => hls.subtitleTracks.length,
    showSubtitles: () => {
      hls.subtitleTrack = 0;
      hls.subtitleDisplay = true;
    },
    close: () => hls.destroy(),
  };
}

async function withShaka(url) {
  shaka.polyfill.installAll();
  const player = new shaka.Player();
  await player.attach(video);
  player.addEventListener("error", ({ detail }) => errors.push(`shaka: ${detail.category}.${detail.code} ${detail.data}`));
  player.addEventListener("stalldetected", () => stalls.push("stalldetected"));
  return {
    ready: player.load(url),
    rungs: () =>
      player.getVariantTracks().map((track) => ({
        index: track.id,
        width: track.width,
        height: track.height,
        bitrate_bps: track.bandwidth,
        codecs: track.codecs,
      })),
    choose: (rung) => {
      player.configure({ abr: { enabled: false } });
      player.selectVariantTrack(
        player.getVariantTracks().find((track) => track.id === rung.index),
        true,
      );
    },
    subtitles: () => player.getTextTracks().length,
    showSubtitles: () => {
      player.selectTextTrack(player.getTextTracks()[0]);
    },
    close: () => player.destroy(),
  };
}

// The browser's own player: it chooses the rung itself and tells nobody what there is.
async function withNothing(url) {
  const ready = new Promise((resolve) => video.addEventListener("loadedmetadata", resolve, { once: true }));
  video.src = url;
  return { ready, rungs: () => [], subtitles: () => 0, close: () => video.removeAttribute("src") };
}

const PLAYERS = { hls: withHls, native: withNothing, dash: withShaka };

export async function play(kind, url, length_s) {
  const report = { kind, errors, rungs: [], shown: [], caption: null };
  addEventListener("error", (event) => errors.push(`page: ${event.message}`));
  let player;
  try {
    player = await PLAYERS[kind](url);
    let ready = false;
    player.ready.then(
      () => (ready = true),
      (error) => errors.push(`${kind}: ${error.message ?? error}`),
    );
    await until(() => ready, `${kind}: manifest`);
    await until(() => video.readyState >= 2, `${kind}: first frame`);
    report.duration_s = video.duration;
    report.rungs = player.rungs();
    report.subtitles = player.subtitles();
    const step_s = Math.min(length_s, video.duration / 3);

    Object.assign(report, await playFrom(0, step_s, `${kind}: start`));
    report.played_s = video.currentTime;
    const middle_s = video.duration / 2;
    await playFrom(middle_s, Math.min(0.5, step_s), `${kind}: middle`);
    report.seeked_to_s = video.currentTime;

    if (report.subtitles > 0) {
      player.showSubtitles();
      video.currentTime = 0;
      await video.play();
      await until(() => caption(), `${kind}: a caption`);
      report.caption = caption();
    }

    await playFrom(Math.max(0, video.duration - 0.8), 0.8, `${kind}: end`);
    await until(() => video.ended, `${kind}: ended`);
    report.ended = true;

    for (const rung of report.rungs) {
      video.pause();
      player.choose(rung);
      await playFrom(0, Math.min(0.3, step_s), `${kind}: rung ${rung.width}x${rung.height}`);
      await until(() => video.videoWidth === rung.width && video.videoHeight === rung.height, `${kind}: picture of ${rung.height}p`);
      report.shown.push([video.videoWidth, video.videoHeight]);
    }
  } catch (error) {
    errors.push(`${error.name}: ${error.message ?? error} ${error.code ?? ""}`);
  }
  report.decoded_frames = frames();
  report.decoded_audio_bytes = video.webkitAudioDecodedByteCount ?? 0;
  report.stalls = stalls.length;
  await player?.close();
  return report;
}

// What the daemon's names mean to a person, and what to do about an error. The codes are those of docs/reference/errors.md.

export const STATUS = {
  pending: "Waiting for the upload",
  uploaded: "Waiting for a worker",
  processing: "Processing",
  completed: "Ready",
  failed: "Failed",
  cancelled: "Cancelled",
  expired: "Never uploaded",
};

export const STAGES = { download: "Fetch", probe: "Inspect", encode: "Encode", verify: "Check", publish: "Publish", finish: "Finish" };

export const PROFILES = {
  abr: "Streaming: HLS and DASH in several sizes",
  mp4: "MP4 files in several sizes",
  h264: "One MP4 in H.264",
  hevc: "One MP4 in HEVC",
  swap: "One MP4: H.264 becomes HEVC, all else H.264",
  audio: "The sound alone",
  thumbnails: "Pictures only",
  copy: "Repackaged, nothing encoded again",
  av1: "Streaming in AV1: smaller, for newer devices",
  hdr: "Streaming in HEVC with its high dynamic range",
  auto: "Streaming, with rates chosen for this video",
};

const RETRY = "Try again.";
const ERRORS = {
  unsupported_media: ["This file is no video that can be read here.", "Export it as MP4 (H.264 and AAC) and upload that."],
  corrupt_media: ["This file is damaged: too little of it can be played.", "Check that it plays on your device, then upload it again."],
  too_large: ["This video is longer or larger than this service takes.", "Cut it, or export it in a smaller size."],
  unknown_profile: ["The kind of output that was asked for does not exist here.", "Upload it again and choose another output."],
  unsupported_profile: ["This service has no encoder for this kind of output.", "Upload it again and choose another output."],
  source_missing: ["The uploaded file is not there any more.", "Upload it again."],
  source_changed: ["The uploaded file was replaced meanwhile.", RETRY],
  timeout: ["This video took longer than a job may.", "Cut it, or choose an output that takes less work."],
  stalled: ["The encoder stood still and was stopped.", RETRY],
  limit_exceeded: ["This file makes the encoder use more than a job may.", "Export it anew as MP4 and upload that."],
  out_of_memory: ["The encoder ran out of memory.", "Try again, or export the video in a smaller size."],
  out_of_disk: ["The service has no space for it at the moment.", "Try again in a while."],
  encoder_failed: ["The encoder gave up on this file.", "Export it anew as MP4 and upload that."],
  output_invalid: ["What came out did not pass the check.", RETRY],
  dependency_unavailable: ["Storage or queue could not be reached.", "Try again in a few minutes."],
  cancelled: ["It was cancelled.", "Try again, or delete it."],
  internal: ["Something went wrong in the service itself.", "Try again; if it stays, tell its operator the video's id."],
};

// What went wrong and what to do: two sentences, and the daemon's own words beside them.
export function explain({ code, detail, retryable }) {
  const [what, todo] = ERRORS[code] ?? ["This video could not be processed.", retryable ? RETRY : "Upload it again."];
  return { what, todo, detail };
}

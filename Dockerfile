# The daemon with a static ffmpeg, as an ordinary user: docker build -t vproc .
# `docker run … vproc serve` takes its settings from the environment, `docker run … vproc dev` has S3 and SQS in the same process.
FROM debian:trixie-slim AS build

# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends binutils ca-certificates python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
WORKDIR /src
COPY requirements.lock ./
RUN python3 -m venv /opt/vproc \
 && /opt/vproc/bin/pip install --no-cache-dir --no-compile --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY vproc vproc
COPY scripts/trim-image scripts/
RUN /opt/vproc/bin/pip install --no-cache-dir --no-compile --no-deps --no-build-isolation . \
 && /opt/vproc/bin/python /src/scripts/trim-image


FROM debian:trixie-slim

# More packages of Debian's: `--build-arg PACKAGES=ffmpeg` puts its ffmpeg beside the static one, which reads no AV1.
ARG PACKAGES=""
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 tini ${PACKAGES} \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /data vproc \
 && install -d -o 10001 -g 10001 /data /scratch
COPY --from=build /opt/vproc /opt/vproc

# The catalog, where it is SQLite, lies in /data; jobs work in /scratch. Both may be volumes, the rest may be read-only.
# Whoever stops a container waits ten seconds: the drain is shorter.
ENV PATH=/opt/vproc/bin:$PATH \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    STATE_DIRECTORY=/data \
    VPROC_SCRATCH_DIR=/scratch \
    VPROC_HOST=0.0.0.0 \
    VPROC_DEV_AUTH=none \
    VPROC_LOG_FORMAT=json \
    VPROC_DRAIN_TIMEOUT_S=3
WORKDIR /data
USER 10001:10001
VOLUME ["/data", "/scratch"]
# The API; and behind it the store of `vproc dev`.
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["vproc", "healthcheck"]
LABEL org.opencontainers.image.title="vproc" \
      org.opencontainers.image.description="A self-hosted video pipeline in one process: presigned uploads in, HLS, DASH and MP4 out, over S3 and SQS." \
      org.opencontainers.image.licenses="Apache-2.0"
ENTRYPOINT ["tini", "--", "vproc"]
CMD ["serve"]

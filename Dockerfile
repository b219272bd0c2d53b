FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY demo demo
# The caches are not part of the image, so the binary leaves them in the same step; and they may be younger than the
# sources, which cargo would then take for unchanged.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    touch src/lib.rs src/main.rs && cargo build --release --locked && install -D target/release/hls-broker /out/hls-broker

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates ffmpeg \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/hls-broker hls-broker \
    && install -d -o hls-broker -g hls-broker /var/lib/hls-broker/data
COPY --from=build /out/hls-broker /usr/local/bin/
# Paths in it are relative to it: ./data is the volume.
COPY hls.yaml /var/lib/hls-broker/
WORKDIR /var/lib/hls-broker
USER 10001:10001
VOLUME /var/lib/hls-broker/data
EXPOSE 7000
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s CMD ["hls-broker", "health"]
ENTRYPOINT ["hls-broker"]
CMD ["serve"]

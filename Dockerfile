# The gateway and what it links, nothing else. Needs no BuildKit.
#
#   chef ─► plan ─► build ─► the image          runtime: Debian with libzmq, without the gateway
#
# Dependencies are compiled in a layer of their own, which changes only when a manifest does.

FROM debian:bookworm-slim AS runtime
RUN apt-get update \
    && apt-get install -y --no-install-recommends libzmq5 ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/buswire --create-home \
        --shell /usr/sbin/nologin buswire \
    && chmod 0700 /var/lib/buswire

FROM rust:1.95-bookworm AS chef
# rust-toolchain.toml asks for components that a build has no use for.
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN apt-get update \
    && apt-get install -y --no-install-recommends libzmq3-dev jq \
    && rm -rf /var/lib/apt/lists/*
RUN cargo install --locked cargo-chef@0.1.78 cargo-cyclonedx@0.5.9
WORKDIR /src

FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
COPY --from=plan /src/recipe.json recipe.json
RUN cargo chef cook --release --locked --package buswire --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --package buswire
COPY --from=runtime /var/lib/dpkg/status /runtime/status
RUN deploy/sbom.sh /runtime > sbom.json

FROM runtime
LABEL org.opencontainers.image.title="Buswire" \
      org.opencontainers.image.description="One gateway for Backplane, SimplePush, Majordomo and Belay" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.base.name="debian:bookworm-slim"
COPY --from=build /src/LICENSE* /src/sbom.json /usr/share/doc/buswire/
COPY --from=build /src/target/release/buswire /usr/local/bin/buswire
# Listeners on loopback are of no use in a container. Majordomo stays there until it has CURVE keys, or
# somebody says mdp.insecure.
ENV BUSWIRE_DATA_DIR=/var/lib/buswire \
    BUSWIRE_HTTP__LISTEN=0.0.0.0:8080 \
    BUSWIRE_ADMIN__LISTEN=0.0.0.0:50051 \
    BUSWIRE_OPS__LISTEN=0.0.0.0:9090
USER 10001:10001
VOLUME /var/lib/buswire
WORKDIR /var/lib/buswire
EXPOSE 8080 50051 5555 9090
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 CMD ["buswire", "healthcheck"]
ENTRYPOINT ["buswire"]
CMD ["serve"]

# The gateway and what it links, nothing else. Built and tested for real by the deployment work; the
# paths and the user are fixed from now on.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libzmq3-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package buswire

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends libzmq5 ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/buswire --create-home buswire
COPY --from=build /src/target/release/buswire /usr/local/bin/buswire
USER buswire
VOLUME /var/lib/buswire
WORKDIR /var/lib/buswire
EXPOSE 8080 50051 5555 9090
ENTRYPOINT ["buswire"]
CMD ["serve"]

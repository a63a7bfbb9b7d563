# Two images, each one static program from scratch: `docker build --target gateway .` and `--target operator`.
# Programs that are built already are put in without compiling: `--build-context binaries=DIR`, a folder with `rtgw`, `rtgw-operator`
# and `ca-certificates.crt`; e2e/cluster does that, because nothing can be pulled there.

FROM rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev gcc make ca-certificates
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p rtgw -p rtgw-operator \
    && mkdir /out \
    && cp target/release/rtgw target/release/rtgw-operator /etc/ssl/certs/ca-certificates.crt /out/

FROM scratch AS binaries
COPY --from=build /out/ /

FROM scratch AS gateway
COPY --from=binaries /ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=binaries /rtgw /rtgw
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["/rtgw"]

FROM scratch AS operator
COPY --from=binaries /ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=binaries /rtgw-operator /rtgw-operator
USER 65532:65532
EXPOSE 9090
ENTRYPOINT ["/rtgw-operator"]
CMD ["run"]

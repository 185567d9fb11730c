# SPDX-License-Identifier: Apache-2.0
# zoetrope-serve in an image: the Debian packages, built here, in a bare Debian. The steps are those that tests/packages.sh runs.
#   docker build -t zoetrope .
#   docker run --rm -p 8080:8080 -p 8554:8554 -v ./tokens:/run/secrets/tokens:ro zoetrope
# tokens: lines "control TOKEN" and "view TOKEN"; open http://HOST:8080/#token=TOKEN. The image's ports hide the address that
# others see, so that WebRTC needs --network host, or --udp-ports, those ports published and --public-address.
FROM debian:bookworm AS build
COPY . /src
WORKDIR /src
RUN apt-get update && apt-get build-dep -y -P nocheck --no-install-recommends . && ZOETROPE_LINTIAN=no tools/deb.sh /packages

FROM debian:bookworm-slim
COPY --from=build /packages /packages
COPY tools/install_debs.sh /packages/
RUN /packages/install_debs.sh /packages && rm -r /packages /var/lib/apt/lists/* && install -d -o 65532 -g 65532 /var/cache/zoetrope
USER 65532:65532
ENV HOME=/tmp XDG_CACHE_HOME=/var/cache/zoetrope ZOETROPE_LISTEN=0.0.0.0:8080 ZOETROPE_RTSP=0.0.0.0:8554 ZOETROPE_TOKEN_FILE=/run/secrets/tokens
EXPOSE 8080 8554
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s CMD exec bash -c 'exec 3<> /dev/tcp/127.0.0.1/8080; printf "GET /readyz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" >&3; read -r _ code _ <&3; test "$code" = 200'
ENTRYPOINT ["zoetrope-serve"]

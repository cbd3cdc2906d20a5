# MinIO as the tests of sync-daemon run it: built from its source, at the version of the Makefile.
# Its makers publish no images any more. docker/compose.yaml builds this one; context: docker/.
ARG BASE=python:3.13-slim-trixie
ARG GO=golang:1.26-trixie

FROM ${GO} AS build
ARG GOPROXY
ARG GONOSUMDB
ENV CGO_ENABLED=0
RUN go install -trimpath -ldflags "-s -w" github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c \
 && install -d -o 65532 -g 65532 /data

FROM ${BASE}
COPY --from=build /go/bin/minio /usr/local/bin/minio
# A new volume takes its owner from here.
COPY --from=build --chown=65532:65532 /data /data
COPY healthcheck.py /usr/local/lib/healthcheck.py
# MinIO makes a folder for certificates in its home; /tmp is what may be written.
ENV HOME=/tmp \
    MINIO_BROWSER=off \
    MINIO_UPDATE=off \
    HEALTH_URL=http://127.0.0.1:9000/minio/health/ready
USER 65532:65532
WORKDIR /
VOLUME /data
EXPOSE 9000
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s --retries=3 \
  CMD ["python", "-I", "/usr/local/lib/healthcheck.py"]
ENTRYPOINT ["/usr/local/bin/minio"]
CMD ["server", "/data"]

# The gateway, and the one-shot commands of docker-compose.yml; no torch, no compiler. It adds 325 MB
# to its base.
#
#   docker build --file deploy/gateway.Dockerfile --tag attnvgg-gateway:0.1.0 .
#
# It runs as uid 10001 and writes to /tmp alone, so that the root file system can be read-only:
#
#   docker run --read-only --tmpfs /tmp --publish 127.0.0.1:3000:3000 \
#     --volume "$PWD/models:/bundles:ro" attnvgg-gateway:0.1.0
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# hatchling makes our wheel; what it needs itself is held by the same file as the rest.
ARG HATCHLING=1.33.0
WORKDIR /src
COPY deploy/constraints.txt deploy/
# Two environments without pip: what is installed for the build stays behind.
RUN python3 -m venv --without-pip /opt/attnvgg \
 && python3 -m venv --without-pip /opt/build \
 && python3 -m pip --python /opt/attnvgg/bin/python install --no-deps -r deploy/constraints.txt \
 && python3 -m pip --python /opt/build/bin/python install \
      --constraint deploy/constraints.txt "hatchling==${HATCHLING}"
COPY pyproject.toml README.md LICENSE ./
COPY export export
COPY serving serving
COPY training training
RUN python3 -m pip --python /opt/build/bin/python wheel \
      --no-build-isolation --no-deps --wheel-dir /wheels . \
 && python3 -m pip --python /opt/attnvgg/bin/python install --no-deps /wheels/*.whl \
 # Every extra that the image promises has what it asks for, and nothing contradicts it.
 && python3 -m pip --python /opt/attnvgg/bin/python install --no-index --dry-run --quiet \
      "$(ls /wheels/*.whl)[serve,tracing,triton]" \
 && python3 -m pip --python /opt/attnvgg/bin/python check

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="attnvgg-gateway" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 attnvgg \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin attnvgg \
 # A new volume takes the owner of the folder that it is mounted on.
 && install -d -o 10001 -g 10001 /bundles /grafana-password /keys /metrics-key /triton
COPY --from=builder /opt/attnvgg /opt/attnvgg
COPY --chmod=755 deploy/keys.sh /usr/local/bin/attnvgg-keys
COPY --chmod=755 deploy/publish.sh /usr/local/bin/attnvgg-publish
ENV PATH=/opt/attnvgg/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    BENTOML_HOME=/tmp/bentoml \
    BENTOML_DO_NOT_TRACK=True \
    BENTOML_HOST=0.0.0.0 \
    BENTOML_PORT=3000 \
    ATTNVGG_MODELS=/bundles
USER 10001:10001
WORKDIR /opt/attnvgg
EXPOSE 3000
# Answers what it has accepted, within ATTNVGG_TIMEOUT_MS and 13 s: give it longer than Docker's 10 s
# (--stop-timeout 45; docker-compose.yml does).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:3000/readyz', timeout=4)"]
CMD ["bentoml", "serve", "attnvgg_serving.service:AttnVGG"]

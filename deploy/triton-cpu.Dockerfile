# Triton without NVIDIA's image, on a CPU: for trying things out and for tests only. It is 2.51, from
# the wheel nvidia-pytriton, with its Python backend alone, and it lacks the security fixes since
# (SECURITY.md): keep it away from anybody whom you don't trust.
#
#   docker build --file deploy/triton-cpu.Dockerfile --tag attnvgg-triton-cpu:0.1.0 deploy
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# The wheel's launcher and what that needs stay out: its server is all that is wanted. This server's
# Python backend reads the arrays of numpy 2 as zeros.
RUN python3 -m venv --without-pip /opt/triton \
 && python3 -m pip --python /opt/triton/bin/python install \
      numpy==1.26.4 onnxruntime==1.31.1 pillow==13.0.0 \
 && python3 -m pip --python /opt/triton/bin/python install --no-deps nvidia-pytriton==0.7.0
# The Python backend's stub for this Python goes where the backend looks for it.
RUN server=/opt/triton/lib/python3.11/site-packages/pytriton/tritonserver \
 && stub=triton_python_backend_stub \
 && cp "$server/python_backend_stubs/3.11/$stub" "$server/backends/python/$stub" \
 && chmod 755 "$server/backends/python/$stub" "$server/bin/tritonserver" \
 && rm -rf "$server/python_backend_stubs"

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="attnvgg-triton-cpu" \
      org.opencontainers.image.version="0.1.0"
# The stub embeds Python's library, which Debian's own Python has as a package.
RUN ldconfig -p | grep -q libpython3.11.so || { \
      apt-get update \
      && apt-get install --yes --no-install-recommends libpython3.11 \
      && rm -rf /var/lib/apt/lists/*; } \
 && groupadd --gid 1000 triton-server \
 && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin triton-server
COPY --from=builder /opt/triton /opt/triton
# NVIDIA's image has the server in this place.
RUN ln -s /opt/triton/lib/python3.11/site-packages/pytriton/tritonserver /opt/tritonserver
# The backend takes the packages of the first python3 on the path.
ENV PATH=/opt/triton/bin:/opt/tritonserver/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
CMD ["tritonserver", "--model-repository=/triton/repository"]

# NVIDIA's Triton with what the NAME-encoded models need in its Python, as its own user.
#
#   docker build --file deploy/triton.Dockerfile --tag attnvgg-triton:0.1.0 deploy
#
# 26.07 is the floor: earlier ones have known holes (SECURITY.md). A newer one goes into BASE_IMAGE.
ARG BASE_IMAGE=nvcr.io/nvidia/tritonserver:26.07-py3
FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="attnvgg-triton" \
      org.opencontainers.image.version="0.1.0"
# numpy and Pillow are all that export/attnvgg_export/triton_backend/decode.py imports. The system's
# Python is the one that Triton's Python backend embeds, so they cannot go into an environment.
RUN python3 -m pip install --no-cache-dir --break-system-packages numpy==2.4.6 pillow==13.0.0
# The image has this user, and runs as root unless told otherwise.
USER 1000:1000
# The root file system may be read-only: what CUDA compiles goes where it can be written.
ENV HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \
  CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
# The arguments of docker-compose.yml follow.
CMD ["tritonserver", "--model-repository=/triton/repository"]

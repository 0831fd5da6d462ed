# A worker: torch, RDKit and all models. One file for both devices.
#
#   CPU:  docker build -f docker/worker.Dockerfile --build-arg TORCH_INDEX=ADDRESS -t equimol-worker:cpu .
#   GPU:  docker build -f docker/worker.Dockerfile -t equimol-worker:gpu .
#
# TORCH_INDEX    address of a further wheel index. Empty: the package index's own torch, which on x86-64 brings
#                the CUDA libraries along and also runs without a GPU. With the index of PyTorch's CPU wheels
#                (its installation page names it) the image is several GB smaller.
# PYTHON_IMAGE   the base; any image with Python 3.11 or newer and pip will do, for example one with CUDA.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
ARG TORCH_INDEX=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv --without-pip /opt/equimol
COPY pyproject.toml constraints.txt docker/requirements.py ./
# torch alone first: it is by far the largest, and changes least often.
RUN --mount=type=cache,target=/root/.cache/pip \
    python requirements.py pyproject.toml worker > requirements.txt \
    && grep '^torch[>=~]' requirements.txt > torch.txt \
    && python -m pip --python /opt/equimol/bin/python install ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} \
       -c constraints.txt -r torch.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip --python /opt/equimol/bin/python install -c constraints.txt -r requirements.txt
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip --python /opt/equimol/bin/python install --no-deps .
# torch's C++ headers are ten thousand files, and nothing is compiled here.
RUN rm -rf /opt/equimol/lib/python3*/site-packages/torch/include

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Equimol worker" \
      org.opencontainers.image.description="Worker of Equimol, a service that generates and scores 3D molecules" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# RDKit's drawings need these two libraries of the X Window System, though no display.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libxext6 libxrender1 \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 equimol \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin equimol \
    && install -d -o 10001 -g 10001 -m 0700 /data
COPY --from=builder /opt/equimol /opt/equimol
ENV PATH="/opt/equimol/bin:${PATH}" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    EQUIMOL_DATA_FOLDER=/data \
    EQUIMOL_LOG_FORMAT=json
USER 10001:10001
WORKDIR /tmp
# The worker touches this file every few seconds while Celery's event loop turns, also in mid-job.
HEALTHCHECK --interval=15s --timeout=5s --start-period=180s --retries=2 \
    CMD ["sh", "-c", "find /tmp/worker.health -mmin -1 | grep -q ."]
CMD ["equimol", "worker", "--health-file", "/tmp/worker.health"]

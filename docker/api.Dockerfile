# The HTTP API: no torch, no RDKit. Model cards and weights come along as files; they are never loaded here.
#
#   docker build -f docker/api.Dockerfile -t equimol-api .

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv --without-pip /opt/equimol
COPY pyproject.toml constraints.txt docker/requirements.py ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python requirements.py pyproject.toml > requirements.txt \
    && python -m pip --python /opt/equimol/bin/python install -c constraints.txt -r requirements.txt
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip --python /opt/equimol/bin/python install --no-deps .

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Equimol API" \
      org.opencontainers.image.description="HTTP API and web page of Equimol, a service that generates and scores 3D molecules" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 equimol \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin equimol \
    && install -d -o 10001 -g 10001 -m 0700 /data /keys
COPY --from=builder /opt/equimol /opt/equimol
ENV PATH="/opt/equimol/bin:${PATH}" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    EQUIMOL_HOST=0.0.0.0 \
    EQUIMOL_PORT=8000 \
    EQUIMOL_DATA_FOLDER=/data \
    EQUIMOL_KEYS_FILE=/keys/keys.json \
    EQUIMOL_LOG_FORMAT=json
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v1/health/ready', timeout=4)"]
CMD ["equimol", "api"]

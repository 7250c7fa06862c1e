# One image for web server and workers; compose.yaml shows how it is run.
#
#   docker build -t veriframe .
#   docker build -t veriframe --build-arg INSTALL="server s3" .   files in a bucket
#   docker build -t veriframe-gpu --build-arg INSTALL=gpu .       to train on an NVIDIA GPU (docker run --gpus all), and
#                                                                 to serve imported models there; several GB more

ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS packages
ARG INSTALL=server
WORKDIR /srv/veriframe
COPY requirements*.txt ./
COPY config/deploy/install config/deploy/install
# Words of one argument, on purpose: see config/deploy/install.
# hadolint ignore=SC2086
RUN config/deploy/install /opt/venv ${INSTALL}

FROM ${PYTHON}
# Numbers, so that volumes and the proxy, which reads the files that this user alone may read, can be given the same.
RUN groupadd --gid 10001 veriframe \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin veriframe \
    && install --directory --owner=10001 --group=10001 --mode=0700 /srv/media /srv/models
COPY --from=packages /opt/venv /opt/venv
WORKDIR /srv/veriframe
COPY . .
# glibc would keep an arena for nearly every thread, each with what its busiest moment left behind.
ENV PATH=/opt/venv/bin:$PATH \
    MALLOC_ARENA_MAX=2 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VERIFRAME_ENV_FILE="" \
    VERIFRAME_MEDIA_ROOT=/srv/media \
    VERIFRAME_MODELS_DIR=/srv/models
# Nothing but /srv/media, /srv/models and /tmp is written to, so the code is compiled now.
RUN python -m compileall -q accounts config detection
USER 10001:10001
VOLUME /srv/media /srv/models
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["python", "config/deploy/healthcheck.py"]
ENTRYPOINT ["python", "manage.py"]
CMD ["serve", "--host", "0.0.0.0"]

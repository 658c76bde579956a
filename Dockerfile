# The app in a container: docker build -t dermdemo . && docker run -p 127.0.0.1:7860:7860 dermdemo
# Two stages, so that build arguments and pip's leftovers stay out of the image that is run.
# No weights are downloaded: the checkpoints of the repository are copied, others are mounted.

FROM python:3.11-slim AS build
# An additional package index, for example one with CPU builds of torch; none by default.
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
COPY requirements.txt /tmp/requirements.txt
RUN /opt/venv/bin/pip install -r /tmp/requirements.txt

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 app \
    && install -d -o app -g app /app /state
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY app.py ./
COPY dermdemo/ dermdemo/
COPY checkpoints/ checkpoints/
COPY assets/ assets/
# Checkpoints are read-only here; what the app writes goes to /state.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    DERMDEMO_HOME=/state \
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860
USER app
VOLUME /state
EXPOSE 7860
# Past any proxy of the environment; a status of 400 or more raises.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['GRADIO_SERVER_PORT'], timeout=8)"]
CMD ["python", "app.py"]

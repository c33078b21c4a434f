# A server with the bundled weights: docker build -t reet . && docker run -p 8000:8000 -v reet:/data reet --open
# Clients' tokens: docker run ... -v "$PWD/tokens:/run/secrets/tokens:ro" reet --tokens /run/secrets/tokens
FROM python:3.11-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
# torch for CPUs; with another index, or none, the image has another build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" -c /tmp/constraints.txt torch
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-cache-dir -c /tmp/constraints.txt "$(echo /tmp/wheels/*.whl)[server,telemetry,tiktoken]" \
    && rm -r /tmp/wheels
# vocabularies of OpenAI's models, so that counting needs no network
ENV TIKTOKEN_CACHE_DIR=/srv/tiktoken
RUN python -c "import tiktoken; [tiktoken.get_encoding(name) for name in ('o200k_base', 'cl100k_base')]" \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin reet \
    && install -d -o reet -g reet /data
# two heaps in place of eight for each core: what sessions leave is used again
ENV MALLOC_ARENA_MAX=2
ENV HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1
USER reet
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
ENTRYPOINT ["reet", "serve", "--host", "0.0.0.0", "--port", "8000", "--sessions", "/data/sessions"]

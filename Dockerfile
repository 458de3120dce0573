# The emulator, or with EXTRAS=jobs,postgres the worker as well. For both architectures:
#   docker buildx build --platform linux/amd64,linux/arm64 -t qstash-emulator .
FROM python:3.13-slim AS build
ARG EXTRAS=""
WORKDIR /src
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY emulator emulator
COPY jobs_core jobs_core
RUN python -m venv /opt/qstash
RUN sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/\1/p' requirements.lock > constraints.txt
RUN /opt/qstash/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --constraint constraints.txt ".${EXTRAS:+[$EXTRAS]}"
# Compose files made for the vendor's image say: qstash dev
RUN ln -s qstash-emulator /opt/qstash/bin/qstash

FROM python:3.13-slim
LABEL org.opencontainers.image.title="qstash-emulator" \
      org.opencontainers.image.description="All of QStash on your own machine" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --create-home --uid 10001 qstash && install -d -o qstash /data
COPY --from=build /opt/qstash /opt/qstash
ENV PATH="/opt/qstash/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    QSTASH_EMULATOR_HOST=0.0.0.0 \
    QSTASH_EMULATOR_DB=/data/qstash.db
USER qstash
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/emulator/health', timeout=2)"]
CMD ["qstash-emulator", "dev"]

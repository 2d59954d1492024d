# All functions in one process, for people without SAM. Build it from the repository's root:
# docker build -f infra/api.Dockerfile .
FROM python:3.13-slim AS libraries
COPY requirements/api.txt /tmp/
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore --only-binary :all: \
    --require-hashes --target /opt/python -r /tmp/api.txt

FROM python:3.13-slim
# /data, a volume, holds the keys and the password that are made at the first start.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin nautilus \
    && mkdir /data && chown nautilus /data && chmod 700 /data
COPY --from=libraries /opt/python /opt/python
COPY layers/shared/nautilus /opt/python/nautilus
COPY functions /app/functions
COPY stream /app/stream
COPY dev/__init__.py dev/container.py dev/credentials.py dev/local_api.py dev/pages.py /app/dev/
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/python /app
# The OpenSSL of psycopg2's wheel knows no authorities of its own; these are Debian's.
ENV PYTHONPATH=/opt/python:/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=67108864
WORKDIR /app
USER 10001:10001
VOLUME /data
EXPOSE 8001
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=4 CMD ["python", "-c", \
    "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8001, timeout=4); c.request('GET', '/health'); c.getresponse()"]
STOPSIGNAL SIGTERM
CMD ["python", "-m", "dev.container", "serve"]

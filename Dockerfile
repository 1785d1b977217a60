# The command `idalloc`, by default the worker. Its settings are environment variables, IDALLOC_...
#
#   docker build -t idalloc .
#   docker run --rm -e IDALLOC_AMQP_URL=... -e IDALLOC_MYSQL_URL=... idalloc

FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /opt/idalloc
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY schemas schemas
COPY client client
COPY worker worker
RUN /opt/idalloc/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt '.[worker,dashboard,otlp]'

FROM python:3.13-slim
COPY --from=build /opt/idalloc /opt/idalloc
ENV PATH=/opt/idalloc/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    IDALLOC_PROBE_FILE=/dev/shm/idalloc-worker
USER 10001:10001
ENTRYPOINT ["idalloc"]
CMD ["worker"]

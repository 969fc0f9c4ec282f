# One image per service from this one file:
#   docker build -f deploy/docker/service.Dockerfile --build-arg SERVICE=services/cv-registry --build-arg MODULE=cv_registry .
FROM python:3.13-slim AS build
ARG SERVICE
# What stands beside it, without what that needs: the operator's commands compare settings and migrations with those of the services.
ARG BESIDE
WORKDIR /src
COPY requirements-bootstrap.lock requirements.lock pyproject.toml ./
RUN pip install --no-cache-dir --require-hashes -r requirements-bootstrap.lock
COPY libs libs
COPY services services
COPY tools/cvhub tools/cvhub
# The lock holds the whole tree: what this service needs of it is taken out, at the same versions, and checked by hash.
RUN uv venv /app \
 && uv pip compile -q --generate-hashes --no-emit-index-url -c requirements.lock -o service.lock \
      --no-emit-package cv-contracts --no-emit-package servicekit --no-emit-package cv-citizens \
      libs/*/pyproject.toml ${SERVICE}/pyproject.toml \
 && uv pip install --python /app/bin/python --require-hashes -r service.lock \
 && uv pip install --python /app/bin/python --build-constraints requirements.lock \
      --no-deps libs/contracts libs/servicekit libs/citizens ./${SERVICE} ${BESIDE}

FROM python:3.13-slim
ARG MODULE
ENV PATH=/app/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MODULE=${MODULE}
RUN useradd --system --uid 10001 --no-create-home cvhub && install -d -o cvhub /keys /idp /sinks /search
COPY --from=build /app /app
USER 10001
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=5 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"HTTP__PORT\"]}/health/ready', timeout=2)"]
ENTRYPOINT ["sh", "-c", "exec python -m \"$MODULE\" \"$@\"", "cvhub"]

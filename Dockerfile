# Stage 1 makes the wheel and the list of the locked dependencies. Stage 2 installs both, never the checkout: so the
# image proves that migrations and data sets lie inside the package.

# The most exact tag. For an image that can never change, pass its digest:
#   docker build --build-arg PYTHON_IMAGE=docker.io/library/python@sha256:… .
ARG PYTHON_IMAGE=docker.io/library/python:3.13.18-slim-trixie

FROM ${PYTHON_IMAGE} AS build
WORKDIR /source
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore uv==0.13.9
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY app app
COPY migrations migrations
COPY seed seed
RUN mkdir /wheel \
 && uv export --quiet --frozen --no-dev --no-emit-project --all-extras --no-extra pytest --output-file /wheel/requirements.txt \
 && pip wheel --no-cache-dir --disable-pip-version-check --no-deps --wheel-dir /wheel .

FROM ${PYTHON_IMAGE}
COPY --from=build /wheel /tmp/wheel
# The dependencies' digests are checked; the wheel of the line above has none to check.
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes --requirement /tmp/wheel/requirements.txt \
 && pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --no-deps /tmp/wheel/*.whl \
 && rm -r /tmp/wheel \
 && useradd --uid 10001 --user-group --no-log-init --create-home --home-dir /data cstar
# A volume that is mounted here gets the folder's owner, so that the user can write a SQLite file into it.
VOLUME /data
WORKDIR /data
# Numbers: Kubernetes' runAsNonRoot can't tell from a name that it is not root's.
USER 10001:10001
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 27827
# The slim image has no curl. ProxyHandler({}): a proxy of the environment is not asked for this host's own port. There
# is no --start-interval, as builders before Docker 25 refuse it.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:27827/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["cstar-mock", "serve", "--host", "0.0.0.0"]

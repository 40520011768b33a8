# Stage 1 makes the wheel and the list of the locked dependencies. Stage 2 installs both, never the checkout: so the
# image proves that migrations and data sets lie inside the package.

FROM python:3.13-slim AS build
WORKDIR /source
RUN pip install --no-cache-dir --disable-pip-version-check uv
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY app app
COPY migrations migrations
COPY seed seed
RUN mkdir /wheel \
 && uv export --quiet --frozen --no-dev --no-emit-project --all-extras --no-extra pytest --output-file /wheel/requirements.txt \
 && pip wheel --no-cache-dir --disable-pip-version-check --no-deps --wheel-dir /wheel .

FROM python:3.13-slim
COPY --from=build /wheel /tmp/wheel
# The dependencies' digests are checked; the wheel of the line above has none to check.
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --requirement /tmp/wheel/requirements.txt \
 && pip install --no-cache-dir --disable-pip-version-check --no-deps /tmp/wheel/*.whl \
 && rm -r /tmp/wheel \
 && useradd --system --uid 10001 --create-home --home-dir /data cstar
# A volume that is mounted here gets the folder's owner, so that the user can write a SQLite file into it.
VOLUME /data
WORKDIR /data
USER cstar
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 27827
# The slim image has no curl. ProxyHandler({}): a proxy of the environment is not asked for this host's own port.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --start-interval=1s \
  CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:27827/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["cstar-mock", "serve", "--host", "0.0.0.0"]

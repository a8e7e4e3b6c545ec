# docker build --tag compozy .
# The first stage builds the wheel and installs it with the pinned versions; the second one has no build tools.
FROM python:3.13-slim AS build
WORKDIR /src
COPY LICENSE MANIFEST.in README.md constraints-runtime.txt pyproject.toml setup.cfg ./
COPY engine engine
COPY rules rules
COPY docs docs
RUN python -m venv /opt/compozy \
    && /opt/compozy/bin/pip install --no-cache-dir --require-hashes --requirement constraints-runtime.txt \
    && /opt/compozy/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/compozy/bin/pip install --no-cache-dir --no-deps dist/compozy-*.whl \
    && /opt/compozy/bin/pip uninstall --yes setuptools

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home compozy && install --directory --owner=compozy /project
COPY --from=build /opt/compozy /opt/compozy
ENV PATH=/opt/compozy/bin:$PATH
USER 10001
WORKDIR /project
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s CMD ["compozy", "status"]
ENTRYPOINT ["compozy"]
CMD ["start"]

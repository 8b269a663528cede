# Airflow with the pipeline (`production`, what `docker build .` makes), and the same with the local inference
# cluster (`lab`).

FROM python:3.12-slim-bookworm AS python

FROM python AS wheel
WORKDIR /source
COPY requirements-build.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY include include
COPY plugins plugins
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python AS airflow
# Volumes take the owner of the folder that they cover.
RUN useradd --uid 50000 --gid 0 --create-home airflow \
    && install -d -o airflow -g 0 -m 0770 /opt/airflow /opt/airflow/logs /cluster

WORKDIR /opt/inference-rollouts
COPY requirements-airflow.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements-airflow.txt
COPY --from=wheel /wheels wheels
RUN pip install --no-cache-dir --no-index --no-deps wheels/*.whl
COPY dags dags
COPY docker/healthy.py .

# Plans are mounted at include/rollouts; metrics/ and manifests/ beside it replace those of the package.
ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/inference-rollouts/dags \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    INFERENCE_ROLLOUTS_INCLUDE=/opt/inference-rollouts/include

USER airflow
CMD ["airflow", "version"]

FROM airflow AS lab
USER root
RUN apt-get update \
    && apt-get install --yes --no-install-recommends prometheus \
    && rm -rf /var/lib/apt/lists/*
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements.txt
COPY lab lab
USER airflow

FROM airflow AS production

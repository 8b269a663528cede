# One image: Airflow with the pipeline, and the local inference cluster.
FROM python:3.12-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends prometheus \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 50000 --gid 0 --create-home airflow

WORKDIR /opt/inference-rollouts
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements.txt

COPY dags dags
COPY plugins plugins
COPY include include
COPY lab lab

ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/inference-rollouts/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/inference-rollouts/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False

# Volumes take the owner of the folder that they cover.
RUN install -d -o airflow -g 0 -m 0770 /opt/airflow /opt/airflow/logs /cluster

USER airflow
CMD ["airflow", "version"]

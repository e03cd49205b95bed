# The environment of the study in one image, from the lock: docker build -t vaebench .
# Never built by its authors: neither Docker's daemon nor Apptainer was to be had where this was written.
FROM python:3.12-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends git make libgomp1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/vaebench
COPY requirements.lock .
# PyTorch's packages bring CUDA along; the driver comes from the host (docker run --gpus all).
RUN pip install --no-cache-dir --require-hashes --requirement requirements.lock
ENV HF_HUB_OFFLINE=1
# The study's folder, with config/, data/ and results/, is mounted here.
WORKDIR /study
ENTRYPOINT ["snakemake"]
CMD ["--cores", "all"]

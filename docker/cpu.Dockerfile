# ONNX Runtime and eager PyTorch on a CPU, evaluation and sweeps.
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends openssh-client git && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu "/src[onnx,baselines,eval,fleet,hub]"
WORKDIR /work
ENTRYPOINT ["vitdeploy"]

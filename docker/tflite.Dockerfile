# TFLite files: both converters' world of packages, LiteRT on this CPU, and adb for phones.
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends adb git && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu "/src[tflite,adb]"
# litert-torch wants packages of its own: an interpreter beside, which VITDEPLOY_LITERT_TORCH_PYTHON names.
RUN python -m venv /opt/litert && /opt/litert/bin/pip install --no-cache-dir "/src[litert-torch]"
ENV VITDEPLOY_LITERT_TORCH_PYTHON=/opt/litert/bin/python
WORKDIR /work
ENTRYPOINT ["vitdeploy"]

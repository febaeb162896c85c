# TensorRT on an x86 server with an NVIDIA GPU. The base has TensorRT 10.3, JetPack 6.1's version, and CUDA.
FROM nvcr.io/nvidia/tensorrt:24.08-py3
RUN apt-get update && apt-get install -y --no-install-recommends openssh-client && rm -rf /var/lib/apt/lists/*
COPY . /src
# The extra trt without `tensorrt`, which the base brings: tests/test_docker.py keeps the two in step.
RUN pip install --no-cache-dir "/src[onnx,trt-rtx]" "pycuda>=2024.1" "nvidia-ml-py>=12.535"
WORKDIR /work
ENTRYPOINT ["vitdeploy"]

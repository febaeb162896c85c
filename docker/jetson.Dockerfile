# On the Jetson itself, for who does not want to bench it over SSH. The base is JetPack 6.1: TensorRT 10.3, CUDA 12.6.
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip python3-libnvinfer && rm -rf /var/lib/apt/lists/*
COPY . /src
# CUDA is spoken through ctypes on the base's libcudart: neither pycuda nor cuda-python is needed.
RUN python3 -m pip install --no-cache-dir "/src[onnx]"
WORKDIR /work
ENTRYPOINT ["vitdeploy"]
